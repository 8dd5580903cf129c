//! The WGSL specialiser: turns a shader file with working defaults into the variant that is needed.
//!
//! It does five things and no more:
//! - replaces the right-hand side of `const NAME: T = …;` and `alias NAME = …;` declarations,
//! - pastes `//@import "lib/…"` files once; `//@import SLOT "lib/…"` names a slot, so that another file can be put there,
//! - keeps the lines between `//@if NAME` and `//@end` only if NAME is enabled,
//! - replaces the body of the one-line function after `//@hook`,
//! - rejects names that the file does not have.

use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::HashSet;

/// What to change in a shader file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Changes {
    /// New right-hand sides of constants and aliases.
    pub knobs: Vec<(&'static str, Knob)>,
    /// Library files for import slots.
    pub imports: Vec<(&'static str, &'static str)>,
    /// Enabled `//@if` blocks.
    pub enabled: Vec<&'static str>,
    /// Expression that the hook function returns.
    pub hook: Option<Cow<'static, str>>,
}

/// The value of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knob {
    /// An unsigned number.
    U32(u32),
    /// A truth value.
    Bool(bool),
    /// A type or any other text.
    Text(&'static str),
}

impl std::fmt::Display for Knob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Knob::U32(n) => write!(f, "{n}u"),
            Knob::Bool(b) => write!(f, "{b}"),
            Knob::Text(t) => f.write_str(t),
        }
    }
}

/// The files that shaders may import.
pub const LIBRARY: &[(&str, &str)] = &[
    ("lib/bilinear.wgsl", include_str!("../../shaders/lib/bilinear.wgsl")),
    ("lib/nearest.wgsl", include_str!("../../shaders/lib/nearest.wgsl")),
    ("lib/conv.wgsl", include_str!("../../shaders/lib/conv.wgsl")),
    ("lib/row_own.wgsl", include_str!("../../shaders/lib/row_own.wgsl")),
    ("lib/row_subgroup.wgsl", include_str!("../../shaders/lib/row_subgroup.wgsl")),
    ("lib/rows_own.wgsl", include_str!("../../shaders/lib/rows_own.wgsl")),
    ("lib/rows_subgroup.wgsl", include_str!("../../shaders/lib/rows_subgroup.wgsl")),
    ("lib/keys_own.wgsl", include_str!("../../shaders/lib/keys_own.wgsl")),
    ("lib/keys_subgroup.wgsl", include_str!("../../shaders/lib/keys_subgroup.wgsl")),
    ("lib/queries_own.wgsl", include_str!("../../shaders/lib/queries_own.wgsl")),
    ("lib/queries_subgroup.wgsl", include_str!("../../shaders/lib/queries_subgroup.wgsl")),
    ("lib/quads_own.wgsl", include_str!("../../shaders/lib/quads_own.wgsl")),
    ("lib/quads_subgroup.wgsl", include_str!("../../shaders/lib/quads_subgroup.wgsl")),
    ("lib/attention.wgsl", include_str!("../../shaders/lib/attention.wgsl")),
    ("lib/attention_tile.wgsl", include_str!("../../shaders/lib/attention_tile.wgsl")),
    ("lib/heads_dy_f32.wgsl", include_str!("../../shaders/lib/heads_dy_f32.wgsl")),
    ("lib/heads_dy_f32_any.wgsl", include_str!("../../shaders/lib/heads_dy_f32_any.wgsl")),
    ("lib/heads_f32.wgsl", include_str!("../../shaders/lib/heads_f32.wgsl")),
    ("lib/heads_f32_any.wgsl", include_str!("../../shaders/lib/heads_f32_any.wgsl")),
    ("lib/index.wgsl", include_str!("../../shaders/lib/index.wgsl")),
    ("lib/matmul.wgsl", include_str!("../../shaders/lib/matmul.wgsl")),
    ("lib/math.wgsl", include_str!("../../shaders/lib/math.wgsl")),
    ("lib/reduce.wgsl", include_str!("../../shaders/lib/reduce.wgsl")),
    ("lib/terms.wgsl", include_str!("../../shaders/lib/terms.wgsl")),
    ("lib/weight_f32.wgsl", include_str!("../../shaders/lib/weight_f32.wgsl")),
    ("lib/weight_f32_any.wgsl", include_str!("../../shaders/lib/weight_f32_any.wgsl")),
    ("lib/weight_q8.wgsl", include_str!("../../shaders/lib/weight_q8.wgsl")),
    ("lib/weight_q4.wgsl", include_str!("../../shaders/lib/weight_q4.wgsl")),
    ("lib/weight_f16.wgsl", include_str!("../../shaders/lib/weight_f16.wgsl")),
    ("lib/input_f32.wgsl", include_str!("../../shaders/lib/input_f32.wgsl")),
    ("lib/input_f32_any.wgsl", include_str!("../../shaders/lib/input_f32_any.wgsl")),
];

/// The text of `source` after `changes`; `name` is for errors.
pub fn specialise(name: &str, source: &str, changes: &Changes) -> Result<String> {
    let mut work = Work { name, changes, used: HashSet::new(), imported: HashSet::new(), out: String::new() };
    work.file(source)?;
    let wanted = changes.knobs.iter().map(|(n, _)| *n);
    let wanted = wanted.chain(changes.imports.iter().map(|(n, _)| *n)).chain(changes.enabled.iter().copied());
    let wanted = wanted.chain(changes.hook.as_ref().map(|_| "//@hook"));
    for name in wanted {
        if !work.used.contains(name) {
            return work.fail(format!("has no \"{name}\" to set"));
        }
    }
    Ok(work.out)
}

struct Work<'a> {
    name: &'a str,
    changes: &'a Changes,
    used: HashSet<String>,
    imported: HashSet<String>,
    out: String,
}

impl Work<'_> {
    fn fail<T>(&self, why: String) -> Result<T> {
        Err(Error::Shader { kernel: self.name.to_string(), why })
    }

    fn file(&mut self, source: &str) -> Result<()> {
        let mut skipping = false;
        let mut hook_next = false;
        for line in source.lines() {
            let trimmed = line.trim_start();
            if trimmed == "//@end" {
                skipping = false;
            } else if skipping {
                continue;
            } else if let Some(block) = trimmed.strip_prefix("//@if ") {
                skipping = !self.is_enabled(block.trim());
            } else if let Some(import) = trimmed.strip_prefix("//@import ") {
                self.import(import)?;
            } else if trimmed == "//@hook" {
                self.used.insert("//@hook".into());
                hook_next = self.changes.hook.is_some();
            } else if std::mem::take(&mut hook_next) {
                self.hook(line)?;
            } else {
                self.declaration(line);
            }
        }
        Ok(())
    }

    fn is_enabled(&mut self, block: &str) -> bool {
        self.used.insert(block.to_string());
        self.changes.enabled.contains(&block)
    }

    fn import(&mut self, import: &str) -> Result<()> {
        let (slot, quoted) = import.split_once('"').unwrap_or((import, ""));
        let (slot, mut path) = (slot.trim(), quoted.trim_end().trim_end_matches('"'));
        if !slot.is_empty() {
            self.used.insert(slot.to_string());
            if let Some((_, other)) = self.changes.imports.iter().find(|(n, _)| *n == slot) {
                path = other;
            }
        }
        let Some((_, text)) = LIBRARY.iter().find(|(p, _)| *p == path) else {
            return self.fail(format!("imports \"{path}\", which is not in the shader library"));
        };
        if self.imported.insert(path.to_string()) { self.file(text) } else { Ok(()) }
    }

    fn hook(&mut self, line: &str) -> Result<()> {
        let (Some(open), Some(expression)) = (line.find('{'), &self.changes.hook) else {
            return self.fail(format!("needs a one-line function after //@hook, but has: {line}"));
        };
        self.out += &format!("{}{{ return {expression}; }}\n", &line[..open]);
        Ok(())
    }

    /// Copies a line, with the right-hand side of a named declaration replaced.
    fn declaration(&mut self, line: &str) {
        let name = line.strip_prefix("const ").or_else(|| line.strip_prefix("alias "));
        let name = name.map(|rest| rest.split([':', ' ', '=']).next().unwrap_or(""));
        if let Some(name) = name {
            self.used.insert(name.to_string());
            if let Some((_, value)) = self.changes.knobs.iter().find(|(n, _)| *n == name)
                && let Some((left, _)) = line.split_once('=')
            {
                self.out += &format!("{left}= {value};\n");
                return;
            }
        }
        self.out += line;
        self.out.push('\n');
    }
}

/// The storage bindings of group 0 in the text: (binding number, written to).
pub fn bindings(text: &str) -> Vec<(u32, bool)> {
    let mut found: Vec<(u32, bool)> = text
        .lines()
        .filter_map(|line| {
            let rest = line.trim_start().strip_prefix("@group(0) @binding(")?;
            let (number, rest) = rest.split_once(')')?;
            Some((number.trim().parse().ok()?, rest.contains("read_write")))
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "const WG: u32 = 64u; // knob\nalias Elem = f32;\n//@if BIAS\n@group(0) @binding(2) var<storage, read> b: array<f32>;\n//@end\n\
        @group(0) @binding(3) var<storage, read_write> y: array<Elem>;\n//@hook\nfn apply(a: f32) -> f32 { return a; }\n";

    #[test]
    fn replaces_what_is_named() {
        let changes = Changes {
            knobs: vec![("WG", Knob::U32(8)), ("Elem", Knob::Text("u32"))],
            enabled: vec!["BIAS"],
            hook: Some("a * 2.0".into()),
            ..Default::default()
        };
        let text = specialise("test", FILE, &changes).unwrap();
        assert!(text.contains("const WG: u32 = 8u;\nalias Elem = u32;"));
        assert!(text.contains("fn apply(a: f32) -> f32 { return a * 2.0; }"));
        assert_eq!(bindings(&text), [(2, false), (3, true)]);
    }

    #[test]
    fn leaves_blocks_out_by_default() {
        let text = specialise("test", FILE, &Changes::default()).unwrap();
        assert_eq!(bindings(&text), [(3, true)]);
    }

    #[test]
    fn rejects_unknown_names() {
        let bad = [
            Changes { knobs: vec![("WGG", Knob::U32(8))], ..Default::default() },
            Changes { enabled: vec!["BIAZ"], ..Default::default() },
            Changes { imports: vec![("WEIGHT", "lib/math.wgsl")], ..Default::default() },
        ];
        for changes in bad {
            assert!(specialise("test", FILE, &changes).unwrap_err().to_string().contains("has no"));
        }
    }
}
