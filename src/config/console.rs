//! `admin.console`: who may ask the virtual database `petiole`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who may ask the virtual database `petiole` by the wire protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// Nobody: a database of that name is the server's, as any other is.
    #[default]
    Off,
    /// Whoever reaches `server.listen`, authenticated or not: for deployments without users.
    Anyone,
    /// Clients that have authenticated as one of these, `database.user` each.
    Principals(Vec<String>),
}

impl Serialize for Console {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Console::Off => out.serialize_str("off"),
            Console::Anyone => out.serialize_str("anyone"),
            Console::Principals(names) => names.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Console {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Names(Vec<String>),
        }
        let wrong = |_| de::Error::custom(EXPECTED);
        match Written::deserialize(input).map_err(wrong)? {
            Written::Word(word) if word == "off" => Ok(Console::Off),
            Written::Word(word) if word == "anyone" => Ok(Console::Anyone),
            Written::Word(word) => Err(de::Error::custom(format!("{word:?}: {EXPECTED}"))),
            Written::Names(names) => Ok(Console::Principals(names)),
        }
    }
}

const EXPECTED: &str = "write \"off\", \"anyone\" or a list of users such as [\"admin.root\"]";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        console: Console,
    }

    fn read(text: &str) -> Result<Console, String> {
        let table = toml::from_str::<Table>(&format!("console = {text}"));
        table.map(|t| t.console).map_err(|e| e.to_string())
    }

    #[test]
    fn each_form_is_read_as_it_is_written() {
        let users = Console::Principals(vec!["admin.root".to_owned()]);
        for (text, console) in [
            ("\"off\"", Console::Off),
            ("\"anyone\"", Console::Anyone),
            ("[\"admin.root\"]", users),
        ] {
            assert_eq!(read(text).as_ref(), Ok(&console));
            let written = toml::to_string(&Table { console }).unwrap();
            assert_eq!(written.trim(), format!("console = {text}"));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms_there_are() {
        for text in ["\"admin.root\"", "true", "[1]"] {
            assert!(
                read(text).unwrap_err().contains("a list of users"),
                "{text}"
            );
        }
    }
}
