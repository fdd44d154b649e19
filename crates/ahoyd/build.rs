//! Makes the folder of the browser client, empty if nobody has built it yet: a development build looks for its files there only if the
//! folder was there when it was compiled.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Where the sources can't be written to, the bundle is either there or not wanted.
    let _ = std::fs::create_dir_all("../../web/dist");
}
