//! How the program is linked, where that decides what it costs in memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // Only where it is built small, for the image: elsewhere an older glibc may have to start it.
    let is_lean = std::env::var("OPT_LEVEL").is_ok_and(|level| level == "s");
    if is_lean && target("OS") == "linux" && target("ENV") == "gnu" {
        // The list of addresses to be put right at a start is read whole and its pages stay: 1.2 MB as it is usually written, a
        // thirtieth packed. Wants glibc 2.36, of 2022.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
