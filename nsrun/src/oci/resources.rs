//! `linux.resources` as it is given to cgctl.

use serde_json::{Value, json};

/// type, major, minor, access: what a program expects to be able to use wherever device rules hold (runtime-spec,
/// config-linux.md "Default Devices"), the terminals, and, as with runc, the making of any node.
const DEVICES: [(&str, i64, i64, &str); 10] = [
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, -1, "rwm"),
];

/// The configuration's, the default devices allowed behind its own rules if it has any.
pub fn complete(resources: Option<Value>) -> Value {
    let mut resources = resources.unwrap_or_else(|| json!({}));
    if let Some(rules) = resources.get_mut("devices").and_then(Value::as_array_mut)
        && !rules.is_empty()
    {
        rules.extend(DEVICES.iter().map(rule));
    }
    resources
}

fn rule((kind, major, minor, access): &(&str, i64, i64, &str)) -> Value {
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    for (key, number) in [("major", *major), ("minor", *minor)] {
        if number >= 0
            && let Some(rule) = rule.as_object_mut()
        {
            rule.insert(key.to_owned(), number.into());
        }
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_devices_are_added_to_rules_only() {
        assert_eq!(complete(None), json!({}));
        let given = json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 3}});
        let all = complete(Some(given));
        assert_eq!(all["devices"].as_array().unwrap().len(), 11);
        assert_eq!(
            all["devices"][3],
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"})
        );
        assert_eq!(all["pids"]["limit"], 3);
    }
}
