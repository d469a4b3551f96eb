//! Changes to JSON that stay JSON: another type, a value from elsewhere in it, something twice, a member less, deep nesting.
//!
//! What the fuzzer does to bytes seldom gets past a parser's first look; this gets to whoever reads what was parsed. Given the same
//! seed it makes the same change.

use serde_json::{Map, Value, json};

/// Numbers below `end`, the same for a seed everywhere. (SplitMix64, Steele and others 2014.)
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u32) -> Self {
        Self(u64::from(seed))
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (end.max(1) as u64)).unwrap_or(0)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// Texts that mean something somewhere, or are awkward.
const TEXTS: &[&str] = &[
    "",
    " ",
    "firing",
    "resolved",
    "critical",
    "warning",
    "info",
    "error",
    "completed",
    "success",
    "failure",
    "main",
    "trigger",
    "resolve",
    "acknowledge",
    "downtime",
    "operational",
    "checkout",
    "search",
    "shop",
    "production",
    "staging",
    "0001-01-01T00:00:00Z",
    "2026-11-24T21:31:13.449197839+00:00",
    "9999-12-31T23:59:59Z",
    "https://example.com/x",
    "javascript:x",
    "@everyone",
    "<@7>",
    "<t:9:R>",
    "`",
    "**",
    "\u{202e}",
    "\u{0}",
    "\n",
    "ä",
    "👩‍👩‍👧‍👦",
    "-1",
    "NaN",
    "1e309",
    "/0",
    "started",
    "stopped",
    "exit",
];

/// Changes it once or a few times; none when nothing can be changed.
pub fn changed(value: &mut Value, dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let nodes = count(value);
        let from = nth(value, &mut dice.below(nodes)).cloned().unwrap_or(Value::Null);
        let mut at = dice.below(nodes);
        if let Some(node) = nth(value, &mut at) {
            change(node, from, dice);
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(all) => all.values().map(count).sum(),
        _ => 0,
    }
}

/// The node of this number, counted from the outside.
fn nth<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|one| nth(one, at)),
        Value::Object(all) => all.values_mut().find_map(|one| nth(one, at)),
        _ => None,
    }
}

fn plain(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => json!([0, 1, -1, i64::MAX, i64::MIN, 1 << 53][dice.below(6)]),
        3 => json!([0.5, 1e308, -0.0, 1e-300, 1_795_510_800.123][dice.below(5)]),
        4 => json!(u64::MAX),
        5 => [json!([]), json!({})][dice.below(2)].clone(),
        _ => json!(dice.one(TEXTS)),
    }
}

fn change(node: &mut Value, from: Value, dice: &mut Dice) {
    match (dice.below(9), &mut *node) {
        (0, _) => *node = from,
        (1, Value::Array(all)) if !all.is_empty() => {
            let (out, into) = (dice.below(all.len()), dice.below(all.len()));
            let twice = all[out].clone();
            (0..=dice.below(3)).for_each(|_| all.insert(into, twice.clone()));
        }
        (2, Value::Array(all)) if !all.is_empty() => drop(all.remove(dice.below(all.len()))),
        (1 | 3, Value::Object(all)) => {
            let name = all.keys().nth(dice.below(all.len())).cloned();
            let name = if dice.below(2) == 0 { name } else { dice.one(TEXTS).map(|text| (*text).to_owned()) };
            all.insert(name.unwrap_or_default(), from);
        }
        (2 | 4, Value::Object(all)) => {
            if let Some(name) = all.keys().nth(dice.below(all.len())).cloned() {
                all.remove(&name);
            }
        }
        (5, Value::String(text)) => {
            let times = [1, 2, 40, 300][dice.below(4)];
            *text = format!("{text}{}", dice.one(TEXTS).unwrap_or(&"").repeat(times));
        }
        (6, Value::String(text)) => *text = text.chars().take(dice.below(12)).collect(),
        (7, _) if dice.below(8) == 0 => {
            for _ in 0..[1, 5, 60, 126][dice.below(4)] {
                let inner = node.take();
                *node = if dice.below(2) == 0 {
                    json!([inner])
                } else {
                    Value::Object(Map::from_iter([("a".to_owned(), inner)]))
                };
            }
        }
        _ => *node = plain(dice),
    }
}
