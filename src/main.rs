//! The command line of DreamLLM. Everything it does is in the library.

fn main() -> std::process::ExitCode {
    dreamllm::cli::run()
}
