//! `admin.console`: who may ask the virtual database `petiole`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who may ask the virtual database `petiole` by the wire protocol. In TOML it is always a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// `[]`: nobody. A database of that name is the server's, as any other is.
    #[default]
    Off,
    /// `["anyone"]`: whoever reaches `server.listen`, authenticated or not; for deployments without
    /// users.
    Anyone,
    /// Clients that have authenticated as one of these, `database.user` each.
    Principals(Vec<String>),
}

impl Serialize for Console {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Console::Off => [""; 0].serialize(out),
            Console::Anyone => [ANYONE].serialize(out),
            Console::Principals(names) => names.serialize(out),
        }
    }
}

impl<'de> Deserialize<'de> for Console {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(input)?;
        Ok(match names.as_slice() {
            [] => Console::Off,
            [one] if one == ANYONE => Console::Anyone,
            _ => Console::Principals(names),
        })
    }
}

const ANYONE: &str = "anyone";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        console: Console,
    }

    #[test]
    fn each_form_is_read_as_it_is_written() {
        let users = Console::Principals(vec!["admin.root".to_owned()]);
        for (text, console) in [
            ("[]", Console::Off),
            ("[\"anyone\"]", Console::Anyone),
            ("[\"admin.root\"]", users),
        ] {
            let table = Table { console };
            let line = format!("console = {text}");
            assert_eq!(toml::from_str::<Table>(&line).as_ref(), Ok(&table));
            assert_eq!(toml::to_string(&table).unwrap().trim(), line);
        }
    }
}
