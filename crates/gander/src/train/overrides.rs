//! Settings by their path in `config.toml`: `--set training.beta1=0.5`.

use serde::{Serialize, de::DeserializeOwned};
use toml::{Table, Value};

use super::config::RunConfig;
use crate::error::{Error, Result};

/// The settings with some of them replaced.
///
/// # Errors
/// [`Error::InvalidConfig`] for a path that no setting has, or a value that it cannot have.
pub fn apply(config: RunConfig, set: &[(String, String)]) -> Result<RunConfig> {
    replace(config, set)
}

/// The same of the settings in a single table of `config.toml`, such as `data`.
pub fn apply_part<T: Clone + Serialize + DeserializeOwned>(
    table: &str,
    settings: &mut T,
    set: &[(String, String)],
) -> Result<()> {
    let in_it = |key: &str| Some(key.strip_prefix(table)?.strip_prefix('.')?.to_owned());
    let own: Vec<(String, String)> = set
        .iter()
        .filter_map(|(key, value)| Some((in_it(key)?, value.clone())))
        .collect();
    *settings = replace(settings.clone(), &own)?;
    Ok(())
}

/// Settings with those of a preset's table in their place.
pub(super) fn merge<T: Serialize + DeserializeOwned>(settings: T, table: &Table) -> Result<T> {
    let set: Vec<(String, String)> = table
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    replace(settings, &set)
}

fn replace<T: Serialize + DeserializeOwned>(settings: T, set: &[(String, String)]) -> Result<T> {
    if set.is_empty() {
        return Ok(settings);
    }
    let invalid = |reason: String| Error::InvalidConfig { reason };
    let mut table = Table::try_from(&settings).map_err(|error| invalid(error.to_string()))?;
    for (key, text) in set {
        put(&mut table, key, parse(text)).map_err(|near| {
            let list = if near.is_empty() {
                String::new()
            } else {
                format!("; there are {}", near.join(", "))
            };
            invalid(format!("no setting named {key}{list}"))
        })?;
    }
    let changed: T = table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| invalid(error.message().to_owned()))?;
    // A key that nothing read has not come back: it was not a setting.
    let read = Table::try_from(&changed).map_err(|error| invalid(error.to_string()))?;
    match set.iter().find(|(key, _)| find(&read, key).is_none()) {
        Some((key, _)) => Err(invalid(format!("no setting named {key}"))),
        None => Ok(changed),
    }
}

/// A TOML value, or text where it is none.
fn parse(text: &str) -> Value {
    let document = format!("value = {text}");
    document
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Puts a value where its path leads; the error lists the keys where the path ends.
fn put(table: &mut Table, key: &str, value: Value) -> Result<(), Vec<String>> {
    let Some((first, rest)) = key.split_once('.') else {
        // An integer where a float stood is meant as a float.
        let value = match (table.get(key), value) {
            (Some(Value::Float(_)), Value::Integer(whole)) => Value::Float(whole as f64),
            (_, value) => value,
        };
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    match table.get_mut(first) {
        Some(Value::Table(inner)) => put(inner, rest, value),
        _ => Err(table.keys().cloned().collect()),
    }
}

fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => find(table.get(first)?.as_table()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Settings {
        inner: Inner,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Inner {
        rate: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }

    fn changed(key: &str, value: &str) -> Result<Settings> {
        let settings = Settings {
            inner: Inner { rate: 1.0, name: None },
        };
        replace(settings, &[(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn values_find_their_place() {
        assert_eq!(changed("inner.rate", "2").unwrap().inner.rate, 2.0);
        assert_eq!(
            changed("inner.name", "kiln").unwrap().inner.name.as_deref(),
            Some("kiln")
        );
    }

    #[test]
    fn unknown_paths_and_wrong_values_are_errors() {
        for (key, value) in [
            ("inner.rats", "2"),
            ("outer.rate", "2"),
            ("inner.rate", "fast"),
            ("inner", "2"),
        ] {
            assert!(changed(key, value).is_err(), "{key}={value}");
        }
    }
}
