//! A game's bot: balances, inventories, leaderboards, and now and then a transfer in a transaction, an item used, points
//! scored, a daily gift claimed. A few players are very active, most aren't (Zipf).

use bson::{RawDocumentBuf, rawdoc};

use super::template::{Marks, Template, field};
use super::{Context, Source, data, fresh_number};
use crate::bench::connection::{Asker, ConnectionError};
use crate::bench::random::{Random, Zipf};

/// Players.
const PLAYERS: u32 = 10_000;
/// Guilds.
const GUILDS: u32 = 100;
/// How unequal activity is: the usual choice of YCSB.
const ZIPF_EXPONENT: f64 = 0.99;
/// The most active players, whose answers are asked for before measuring.
const REGULARS: u32 = 2_000;
/// Things that players own.
const ITEMS: [&str; 8] = [
    "apple", "bow", "potion", "ring", "rope", "shield", "sword", "torch",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Balance,
    Inventory,
    Leaderboard,
    Transfer,
    UseItem,
    Score,
    Claim,
}

/// Of 1,000 operations: 93 % are reads.
const MIX: [(Kind, u32); 7] = [
    (Kind::Balance, 380),
    (Kind::Inventory, 250),
    (Kind::Leaderboard, 300),
    (Kind::Transfer, 20),
    (Kind::UseItem, 15),
    (Kind::Score, 15),
    (Kind::Claim, 20),
];

/// A transfer that isn't committed yet.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    from: i64,
    to: i64,
    amount: i64,
    number: i64,
    next: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Take,
    Give,
    Commit,
}

/// The bot's requests.
pub struct Economy {
    activity: Zipf,
    templates: Templates,
    /// Writes outside transactions carry a number of their own.
    numbered: bool,
    /// By connection.
    open: Vec<Option<Transfer>>,
    /// Transactions begun.
    begun: u64,
}

struct Templates {
    balance: Template,
    inventory: Template,
    leaderboard: Template,
    take: Template,
    give: Template,
    commit: Template,
    use_item: Vec<Template>,
    score: Template,
    claim: Template,
}

impl Economy {
    /// The bot on a lane's own data.
    pub fn new(context: &Context) -> Economy {
        Economy {
            activity: Zipf::new(PLAYERS, ZIPF_EXPONENT),
            templates: Templates::new(context),
            numbered: context.style.retryable,
            open: Vec::new(),
            begun: 0,
        }
    }

    fn step(&mut self, connection: usize, mut transfer: Transfer, out: &mut Vec<u8>) {
        let Transfer {
            from,
            to,
            amount,
            number,
            next,
        } = transfer;
        let (template, values, then) = match next {
            Step::Take => (
                &self.templates.take,
                vec![from, amount, -amount, number],
                Some(Step::Give),
            ),
            Step::Give => (
                &self.templates.give,
                vec![to, amount, number],
                Some(Step::Commit),
            ),
            Step::Commit => (&self.templates.commit, vec![number], None),
        };
        template.put(connection, &values, out);
        self.begun += u64::from(next == Step::Take);
        let slot = &mut self.open[connection];
        *slot = then.map(|next| {
            transfer.next = next;
            transfer
        });
    }

    fn write(
        template: &Template,
        numbered: bool,
        connection: usize,
        own: &[i64],
        out: &mut Vec<u8>,
    ) {
        let mut values = own.to_vec();
        if numbered {
            values.push(fresh_number());
        }
        template.put(connection, &values, out);
    }
}

impl Source for Economy {
    fn fill(&mut self, connection: usize, random: &mut Random, out: &mut Vec<u8>) {
        if self.open.len() <= connection {
            self.open.resize(connection + 1, None);
        }
        if let Some(transfer) = self.open[connection] {
            return self.step(connection, transfer, out);
        }
        let player = self.activity.draw(random);
        let user = i64::from(player);
        let templates = &self.templates;
        let numbered = self.numbered;
        match draw(random) {
            Kind::Balance => templates.balance.put(connection, &[user], out),
            Kind::Inventory => templates.inventory.put(connection, &[user], out),
            Kind::Leaderboard => {
                let guild = i64::from(player % GUILDS);
                templates.leaderboard.put(connection, &[guild], out);
            }
            Kind::Transfer => {
                let other = i64::from((player + 1 + random.below(PLAYERS - 1)) % PLAYERS);
                // The active give as often as they take, or they would soon have nothing.
                let (from, to) = if random.below(2) == 0 {
                    (user, other)
                } else {
                    (other, user)
                };
                let transfer = Transfer {
                    from,
                    to,
                    amount: i64::from(1 + random.below(20)),
                    number: fresh_number(),
                    next: Step::Take,
                };
                self.step(connection, transfer, out);
            }
            Kind::UseItem => {
                let item = random.below(ITEMS.len() as u32) as usize;
                Self::write(
                    &templates.use_item[item],
                    numbered,
                    connection,
                    &[user],
                    out,
                );
            }
            Kind::Score => {
                let points = i64::from(1 + random.below(50));
                Self::write(&templates.score, numbered, connection, &[user, points], out);
            }
            Kind::Claim => {
                let day = i64::from(random.below(1_000));
                Self::write(&templates.claim, numbered, connection, &[user, day], out);
            }
        }
    }

    fn distinct(&self) -> Option<u32> {
        Some(GUILDS + 2 * REGULARS)
    }

    fn fill_nth(&mut self, connection: usize, index: u32, out: &mut Vec<u8>) {
        let user = i64::from(index.saturating_sub(GUILDS) / 2);
        let (template, key) = match index {
            0..GUILDS => (&self.templates.leaderboard, i64::from(index)),
            _ if index.is_multiple_of(2) => (&self.templates.balance, user),
            _ => (&self.templates.inventory, user),
        };
        template.put(connection, &[key], out);
    }

    /// As drivers do: the whole transaction again.
    fn refused(&mut self, connection: usize) {
        if let Some(Some(transfer)) = self.open.get_mut(connection) {
            transfer.next = Step::Take;
            transfer.number = fresh_number();
        }
    }

    fn transactions(&self) -> u64 {
        self.begun
    }

    fn unfinished(&self, connection: usize) -> bool {
        matches!(self.open.get(connection), Some(Some(_)))
    }
}

fn draw(random: &mut Random) -> Kind {
    let mut point = random.below(MIX.iter().map(|(_, share)| share).sum());
    for (kind, share) in MIX {
        if point < share {
            return kind;
        }
        point -= share;
    }
    Kind::Balance
}

impl Templates {
    fn new(context: &Context) -> Templates {
        let db = context.database.as_str();
        let style = &context.style;
        let lane = context.lane;
        let read = |build: &dyn Fn(&Marks) -> RawDocumentBuf| Template::new(1, build).of_lane(lane);
        let write = |own: usize, build: &dyn Fn(&Marks) -> RawDocumentBuf| {
            let whole = |marks: &Marks| {
                let mut command = build(marks);
                style.apply(own, marks, &mut command);
                command
            };
            Template::new(style.holes(own), whole).of_lane(lane)
        };
        let in_transaction = |holes: usize, build: &dyn Fn(&Marks) -> RawDocumentBuf| {
            Template::new(holes, build).of_lane(lane)
        };
        let majority = style
            .concern_document()
            .unwrap_or_else(|| rawdoc! {"w": "majority"});
        let use_item = |item: &str| {
            write(1, &|marks: &Marks| {
                let mut less = RawDocumentBuf::new();
                less.append(field(&format!("items.{item}")), -1);
                rawdoc! {
                    "update": "inventories",
                    "updates": [{"q": {"_id": marks.int32(0)}, "u": {"$inc": less}}],
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            })
        };
        Templates {
            balance: read(&|marks| {
                rawdoc! {
                    "find": "accounts", "filter": {"_id": marks.int32(0)}, "limit": 1, "singleBatch": true,
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
            inventory: read(&|marks| {
                rawdoc! {
                    "find": "inventories", "filter": {"_id": marks.int32(0)}, "limit": 1, "singleBatch": true,
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
            leaderboard: read(&|marks| {
                rawdoc! {
                    "find": "players", "filter": {"guild": marks.int32(0)}, "sort": {"score": -1, "_id": 1},
                    "limit": 10, "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
            take: in_transaction(4, &|marks| {
                rawdoc! {
                    "update": "accounts",
                    "updates": [{
                        "q": {"_id": marks.int32(0), "balance": {"$gte": marks.int64(1)}},
                        "u": {"$inc": {"balance": marks.int64(2)}},
                    }],
                    "lsid": marks.lsid.clone(), "txnNumber": marks.int64(3), "startTransaction": true,
                    "autocommit": false, "$db": db,
                }
            }),
            give: in_transaction(3, &|marks| {
                rawdoc! {
                    "update": "accounts",
                    "updates": [{"q": {"_id": marks.int32(0)}, "u": {"$inc": {"balance": marks.int64(1)}}}],
                    "lsid": marks.lsid.clone(), "txnNumber": marks.int64(2), "autocommit": false, "$db": db,
                }
            }),
            commit: in_transaction(1, &|marks| {
                rawdoc! {
                    "commitTransaction": 1, "lsid": marks.lsid.clone(), "txnNumber": marks.int64(0),
                    "autocommit": false, "writeConcern": majority.clone(), "$db": "admin",
                }
            }),
            use_item: ITEMS.iter().map(|item| use_item(item)).collect(),
            score: write(2, &|marks| {
                rawdoc! {
                    "update": "players",
                    "updates": [{"q": {"_id": marks.int32(0)}, "u": {"$inc": {"score": marks.int32(1)}}}],
                    "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
            claim: write(2, &|marks| {
                rawdoc! {
                    "findAndModify": "accounts",
                    "query": {"_id": marks.int32(0), "claimed": {"$ne": marks.int32(1)}},
                    "update": {"$set": {"claimed": marks.int32(1)}, "$inc": {"balance": 100_i64}},
                    "new": true, "lsid": marks.lsid.clone(), "$db": db,
                }
            }),
        }
    }
}

/// Makes the players, from scratch.
pub fn fill(asker: &mut Asker, database: &str) -> Result<(), ConnectionError> {
    asker.command(&rawdoc! {"dropDatabase": 1, "$db": database})?;
    let ids = || 0..PLAYERS as i32;
    let accounts = ids().map(|id| rawdoc! {"_id": id, "balance": 1_000_i64, "claimed": -1});
    data::insert_all(asker, database, "accounts", accounts)?;
    let inventories = ids().map(|id| {
        let mut items = RawDocumentBuf::new();
        for item in ITEMS {
            items.append(field(item), 5 + id % 90);
        }
        rawdoc! {"_id": id, "items": items}
    });
    data::insert_all(asker, database, "inventories", inventories)?;
    let mut random = Random::seeded(42);
    let players = ids().map(|id| {
        rawdoc! {
            "_id": id, "name": format!("player {id}"), "guild": id % GUILDS as i32,
            "score": random.below(100_000) as i32,
        }
    });
    data::insert_all(asker, database, "players", players)?;
    let index = rawdoc! {"key": {"guild": 1, "score": -1, "_id": 1}, "name": "rank"};
    asker.command(&rawdoc! {"createIndexes": "players", "indexes": [index], "$db": database})?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::reply::body;

    fn names(economy: &mut Economy, count: usize) -> Vec<(String, RawDocumentBuf)> {
        let mut random = Random::seeded(3);
        let ask = |_| {
            let mut frame = Vec::new();
            economy.fill(0, &mut random, &mut frame);
            let command = body(&frame).unwrap().to_owned();
            let name = command.iter().next().unwrap().unwrap().0.to_string();
            (name, command)
        };
        (0..count).map(ask).collect()
    }

    #[test]
    fn a_transfer_is_two_updates_and_a_commit_of_one_number() {
        let mut economy = Economy::new(&Context::default());
        let asked = names(&mut economy, 2_000);
        let first = asked
            .iter()
            .position(|(_, command)| command.get_bool("startTransaction").is_ok())
            .unwrap();
        let steps = &asked[first..first + 3];
        assert_eq!(steps[2].0, "commitTransaction");
        let numbers = steps
            .iter()
            .map(|(_, command)| command.get_i64("txnNumber").unwrap());
        let numbers: std::collections::HashSet<i64> = numbers.collect();
        assert_eq!(numbers.len(), 1);
    }

    #[test]
    fn a_refused_transfer_begins_again_with_a_new_number() {
        let mut economy = Economy::new(&Context::default());
        let mut random = Random::seeded(3);
        let mut frame = Vec::new();
        while !economy.unfinished(0) {
            frame.clear();
            economy.fill(0, &mut random, &mut frame);
        }
        let first = body(&frame).unwrap().get_i64("txnNumber").unwrap();
        economy.refused(0);
        let mut again = Vec::new();
        economy.fill(0, &mut random, &mut again);
        let again = body(&again).unwrap();
        assert!(again.get_bool("startTransaction").unwrap());
        assert!(again.get_i64("txnNumber").unwrap() > first);
        assert_eq!(economy.transactions(), 2);
    }

    #[test]
    fn nine_of_ten_operations_are_reads() {
        let mut economy = Economy::new(&Context::default());
        let asked = names(&mut economy, 10_000);
        let reads = asked.iter().filter(|(name, _)| name == "find").count();
        assert!((8_500..9_500).contains(&reads), "{reads}");
    }
}
