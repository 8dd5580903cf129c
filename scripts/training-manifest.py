#!/usr/bin/env python3
"""Prints what the default model was trained by, as weights/training.json has it: for every run of a folder its config, steps, samples,
seconds and losses at both ends; the hashes of the result; and its measured quality.   training-manifest.py runs/shapes
Runs that are not in the folder, since training went on from weights/, are as weights/training.json has them."""
import hashlib, json, pathlib, subprocess, sys

root = pathlib.Path(sys.argv[1])
before = pathlib.Path("weights/training.json")
runs = {run["run"]: run for run in json.loads(before.read_text())["runs"]} if before.exists() else {}
for log in sorted(root.glob("[0-9][0-9]-*/log.jsonl")):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    config = pathlib.Path("configs/shapes") / f"{log.parent.name}.toml"
    mean = lambda part: round(sum(line["loss"] for line in part) / len(part), 5)
    runs[log.parent.name] = {
        "run": log.parent.name,
        "command": f"dreamllm train --config {config}",
        "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest(),
        "steps": lines[-1]["step"],
        "samples": sum(line["samples"] for line in lines),
        "seconds": round(sum(line["seconds"] for line in lines)),
        "loss_first_20_steps": mean(lines[:20]),
        "loss_last_20_steps": mean(lines[-20:]),
    }
folder = root / "weights"
runs = [runs[name] for name in sorted(runs)]
files = {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*")) if f.is_file()}
evaluation = json.loads((root / "eval.json").read_text())
print(json.dumps({
    "begun_with": "dreamllm init configs/shapes/model -o runs/shapes/0-untrained",
    "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
    "adapter": evaluation["adapter"],
    "runs": runs,
    "seconds": sum(run["seconds"] for run in runs),
    "sha256": files,
    "quality": evaluation["report"],
}, indent=1, ensure_ascii=False))
