//! Compiles the schema with a protobuf compiler written in Rust, so that nothing needs to be installed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = "../../schema";
    println!("cargo:rerun-if-changed={schema}");
    let files = ["session", "people", "conversation", "call", "sealed", "trunk", "fabric"]
        .map(|name| format!("ahoy/v1/{name}.proto"));
    let descriptors = protox::compile(files, [schema])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.compile_fds(descriptors)?;
    Ok(())
}
