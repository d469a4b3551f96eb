//! The sizes that a machine can have.

use serde_json::Value;

/// Why a guest is none. Undocumented: the words. The numbers are flyctl's; the documents want steps of 2048 for performance.
pub fn refuse(guest: &Value) -> Option<String> {
    let guest = guest.as_object()?;
    let number = |key: &str| guest.get(key).and_then(Value::as_u64);
    let kind = guest.get("cpu_kind").and_then(Value::as_str).filter(|kind| !kind.is_empty()).unwrap_or("shared");
    let (sizes, least, most, step): (&[u64], u64, u64, u64) = match kind {
        "shared" => (&[1, 2, 4, 6, 8], 256, 2_048, 256),
        "performance" => (&[1, 2, 4, 6, 8, 10, 12, 14, 16, 32, 64, 128], 2_048, 8_192, 1_024),
        other => return Some(format!("{other:?} is no kind of CPU")),
    };
    let cpus = number("cpus").filter(|cpus| *cpus > 0).unwrap_or(1);
    if !sizes.contains(&cpus) {
        return Some(format!("{kind} machines have {sizes:?} CPUs, not {cpus}"));
    }
    let memory = number("memory_mb").filter(|memory| *memory > 0).unwrap_or(least * cpus);
    if memory < least * cpus || memory > most * cpus || memory % step != 0 {
        return Some(format!(
            "{cpus} {kind} CPUs go with {} to {} MB of memory in steps of {step}, not {memory}",
            least * cpus,
            most * cpus
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_sizes_that_fly_sells() {
        for (kind, cpus, memory, good) in [
            ("shared", 1, 256, true),
            ("shared", 1, 2_048, true),
            ("shared", 1, 2_304, false),
            ("shared", 1, 300, false),
            ("shared", 2, 256, false),
            ("shared", 3, 768, false),
            ("shared", 8, 16_384, true),
            ("performance", 1, 2_048, true),
            ("performance", 1, 1_024, false),
            ("performance", 2, 4_352, false),
            ("performance", 16, 131_072, true),
            ("performance", 5, 10_240, false),
            ("gpu", 1, 2_048, false),
        ] {
            let found = refuse(&json!({"cpu_kind": kind, "cpus": cpus, "memory_mb": memory}));
            assert_eq!(found.is_none(), good, "{kind} {cpus} {memory}: {found:?}");
        }
        assert_eq!(refuse(&Value::Null), None, "left out, it is Fly's choice");
    }
}
