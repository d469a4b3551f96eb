//! Looks for inputs that break a reader of what comes from outside: one format a run, `FORMAT` says which. fuzz/run.sh runs them all.
//!
//! Each goes from the bytes as far as a decision, where there is one, and looks at more than that nothing panics: what is answered,
//! recorded and shown is within its limits, the same again changes nothing, the record read again gives the same. libFuzzer has
//! the main function.
#![no_main]

mod hooks;
mod kept;
mod mutate;
mod neighbours;
mod people;
mod world;

use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

use mutate::Dice;

/// A format.
type Format = fn(&[u8]);

/// All, by name; fuzz/run.sh lists the same.
const FORMATS: &[(&str, Format)] = &[
    ("alertmanager", hooks::alertmanager),
    ("sentry", hooks::sentry),
    ("github", hooks::github),
    ("pagerduty", hooks::pagerduty),
    ("betterstack", hooks::betterstack),
    ("generic", hooks::generic),
    ("proof", hooks::proof),
    ("deploy", hooks::deploy),
    ("machines", neighbours::machines),
    ("logs", neighbours::logs),
    ("figures", neighbours::figures),
    ("certificate", neighbours::certificate),
    ("interactions", people::interactions),
    ("typed", people::typed),
    ("markup", people::markup),
    ("log", kept::log),
    ("record", kept::record),
    ("policy", kept::policy),
];

fn format() -> Format {
    static CHOSEN: OnceLock<Format> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("FORMAT").unwrap_or_default();
        let found = FORMATS.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format).unwrap_or_else(|| panic!("FORMAT is “{name}”, which is none"))
    })
}

fuzz_target!(|data: &[u8]| format()(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice::new(seed);
    // What is JSON mostly stays it; the rest is for the parser.
    if dice.below(5) > 0
        && let Ok(mut value) = serde_json::from_slice(&data[..size])
    {
        mutate::changed(&mut value, &mut dice);
        let text = value.to_string();
        if let Some(room) = data.get_mut(..text.len()).filter(|_| text.len() <= max_size) {
            room.copy_from_slice(text.as_bytes());
            return text.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});
