//! `trapline-benches NAME [--json]`: Trapline beside tokio and beside the same work with no
//! runtime.

fn main() -> std::process::ExitCode {
    trapline_benches::main()
}
