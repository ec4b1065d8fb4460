//! Read preferences: which member answers, counted at the members.

use std::time::Duration;

use bson::{Document, doc};
use petiole::config::Config;
use petiole::proxy::Proxy;
use petiole::upstream::{Act, Rule};

use super::Set;
use crate::parts::asker::Asker;
use crate::parts::in_process::{self, faults};
use crate::parts::{shared, wait};

/// The set, a proxy before it, and a client of that.
struct Place {
    set: Set,
    db: String,
    proxy: Proxy,
    client: Asker,
}

impl Place {
    /// Latency decides nothing, unless `change` says so.
    async fn new(set: Set, change: impl FnOnce(&mut Config)) -> Place {
        let db = shared::database("preference");
        set.fill(&db, "c").await;
        let proxy = in_process::start(&set.deployment.seed_uri(), |config| {
            config.upstream.local_threshold = Duration::from_secs(10);
            config.upstream.failover_wait = Duration::from_secs(2);
            change(config);
        })
        .await;
        wait::until("all members are known", || {
            let servers = proxy.shared().upstream.servers();
            servers.len() == 3 && servers.iter().all(|s| s.role.is_some())
        });
        Place {
            client: Asker::connect(&proxy.address().to_string()).await,
            set,
            db,
            proxy,
        }
    }

    async fn ask(&mut self, preference: Document) -> Document {
        let find = doc! {"find": "c", "$readPreference": preference, "$db": &self.db};
        self.client.reply(&find).await
    }

    /// Reads that each member has answered, of twelve with such a preference.
    async fn answered(&mut self, preference: Document) -> [i64; 3] {
        let before = self.counts().await;
        for _ in 0..12 {
            let reply = self.ask(preference.clone()).await;
            assert_eq!(reply.get_f64("ok").ok(), Some(1.0), "{reply}");
        }
        let after = self.counts().await;
        let answered = [0, 1, 2].map(|n| after[n] - before[n]);
        assert_eq!(answered.iter().sum::<i64>(), 12, "{answered:?}");
        answered
    }

    async fn counts(&self) -> [i64; 3] {
        let namespace = format!("{}.c", self.db);
        let mut counts = [0; 3];
        for (member, count) in counts.iter_mut().enumerate() {
            *count = self.set.slow_down(member, Some(&namespace), 1).await;
        }
        counts
    }
}

/// Gives each member a tag with its number.
async fn tag(set: &Set) {
    let (primary, _) = set.roles().await;
    let mut primary = set.member(primary).await;
    let get = doc! {"replSetGetConfig": 1, "$db": "admin"};
    let mut config = primary
        .ask(&get)
        .await
        .reply
        .get_document("config")
        .unwrap()
        .clone();
    let version = config.get_i32("version").unwrap();
    config.insert("version", version + 1);
    for (n, member) in config
        .get_array_mut("members")
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        let tags = doc! {"number": n.to_string(), "place": "here"};
        member.as_document_mut().unwrap().insert("tags", tags);
    }
    let reconfigure = doc! {"replSetReconfig": config, "$db": "admin"};
    primary.ask(&reconfigure).await;
    // (It is told that a majority has them.)
    for n in 0..3 {
        wait::until_async("the member has its tag", async || {
            let hello = doc! {"hello": 1, "$db": "admin"};
            let reply = set.member(n).await.ask(&hello).await.reply;
            let tags = reply.get_document("tags");
            tags.is_ok_and(|tags| tags.get_str("number").ok() == Some(&n.to_string()))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_and_tags_say_who_answers() {
    let set = Set::new().await;
    tag(&set).await;
    let (primary, [one, other]) = set.roles().await;
    let mut place = Place::new(set, |_| {}).await;
    let number = |n: usize| doc! {"number": n.to_string()};
    for mode in ["primary", "primaryPreferred"] {
        assert_eq!(place.answered(doc! {"mode": mode}).await[primary], 12);
    }
    for mode in ["secondary", "secondaryPreferred"] {
        let answered = place.answered(doc! {"mode": mode}).await;
        assert!(answered[one] > 0 && answered[other] > 0, "{answered:?}");
        assert_eq!(answered[primary], 0);
        let tags = doc! {"mode": mode, "tags": [number(other)]};
        assert_eq!(place.answered(tags).await[other], 12);
        // The first set of tags that somebody has.
        let tags = doc! {"mode": mode, "tags": [{"number": "7"}, number(one), number(other)]};
        assert_eq!(place.answered(tags).await[one], 12);
    }
    let nearest = place
        .answered(doc! {"mode": "nearest", "tags": [{"place": "here"}]})
        .await;
    assert!(nearest.iter().all(|&n| n > 0), "{nearest:?}");
    let tags = doc! {"mode": "nearest", "tags": [number(primary)]};
    assert_eq!(place.answered(tags).await[primary], 12);
    let tags = doc! {"mode": "secondaryPreferred", "tags": [number(primary)]};
    assert_eq!(
        place.answered(tags).await[primary],
        12,
        "no secondary has it"
    );
    let reply = place
        .ask(doc! {"mode": "secondary", "tags": [number(primary)]})
        .await;
    assert_eq!(reply.get_i32("code").ok(), Some(133), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staleness_below_ninety_seconds_is_refused_in_the_servers_words() {
    let set = Set::new().await;
    let (primary, _) = set.roles().await;
    let mut direct = set.member(primary).await;
    let mut place = Place::new(set, |_| {}).await;
    for seconds in [1, 89] {
        for mode in ["secondary", "nearest"] {
            let preference = doc! {"mode": mode, "maxStalenessSeconds": seconds};
            let through = place.ask(preference.clone()).await;
            let find = doc! {"find": "c", "$readPreference": preference, "$db": &place.db};
            let directly = direct.reply(&find).await;
            assert_eq!(through.get_i32("code").ok(), Some(160), "{through}");
            assert_eq!(through.get("errmsg"), directly.get("errmsg"));
        }
    }
    let preference = doc! {"mode": "secondary", "maxStalenessSeconds": 90};
    assert_eq!(place.answered(preference).await[primary], 0);
}

/// The limit is at least 90 s, but the time between two looks counts: with 85 s of that, a member
/// that is 5 s behind is too stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_fallen_behind_is_left_out() {
    let set = Set::new().await;
    let (primary, [one, behind]) = set.roles().await;
    let written = async |member: usize| {
        let hello = doc! {"hello": 1, "$db": "admin"};
        let reply = set.member(member).await.ask(&hello).await.reply;
        let write = reply.get_document("lastWrite").unwrap();
        write
            .get_datetime("lastWriteDate")
            .unwrap()
            .timestamp_millis()
    };
    set.fill("behind", "c").await;
    let mut held = set.member(behind).await;
    held.ask(&doc! {"fsync": 1, "lock": true, "$db": "admin"})
        .await;
    wait::until_async("it is behind", async || {
        let note = doc! {"appendOplogNote": 1, "data": {"n": 1}, "$db": "admin"};
        set.member(primary).await.ask(&note).await;
        written(primary).await - written(behind).await > 6_000
    })
    .await;
    let db = "behind".to_owned();
    let proxy = in_process::start(&set.deployment.seed_uri(), |config| {
        config.upstream.heartbeat = Duration::from_secs(85);
        config.upstream.local_threshold = Duration::from_secs(10);
    })
    .await;
    wait::until("all members are known", || {
        let servers = proxy.shared().upstream.servers();
        servers.len() == 3 && servers.iter().all(|s| s.role.is_some())
    });
    let client = Asker::connect(&proxy.address().to_string()).await;
    let mut place = Place {
        set,
        db,
        proxy,
        client,
    };
    let fresh = place
        .answered(doc! {"mode": "secondary", "maxStalenessSeconds": 90})
        .await;
    let any = place
        .answered(doc! {"mode": "secondary", "maxStalenessSeconds": 150})
        .await;
    held.ask(&doc! {"fsyncUnlock": 1, "$db": "admin"}).await;
    assert_eq!(fresh[one], 12, "{fresh:?}");
    assert!(any[behind] > 0 && any[one] > 0, "{any:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_far_away_is_left_out_as_long_as_it_is() {
    let set = Set::new().await;
    let (_, [_, far]) = set.roles().await;
    let address = set.deployment.addresses()[far].clone();
    let mut place = Place::new(set, |config| {
        config.upstream.local_threshold = Duration::from_millis(100);
        config.upstream.heartbeat = Duration::from_millis(500);
    })
    .await;
    let distance = |place: &Place| {
        let servers = place.proxy.shared().upstream.servers();
        let far = servers.iter().find(|s| s.address == address);
        Duration::from_micros(far.expect("it is a member").rtt_us)
    };
    let slow = address.clone();
    let delay = Act::Delay(Duration::from_millis(400));
    let rule = Rule::every(delay, move |p| p.server.to_string() == slow).and_hellos();
    faults(&place.proxy).arm(rule);
    wait::until("it is far away", || {
        distance(&place) > Duration::from_millis(250)
    });
    for mode in ["nearest", "secondary"] {
        assert_eq!(place.answered(doc! {"mode": mode}).await[far], 0);
    }
    faults(&place.proxy).clear();
    wait::until("it is near again", || {
        distance(&place) < Duration::from_millis(60)
    });
    let again = place.answered(doc! {"mode": "nearest"}).await;
    assert!(again[far] > 0, "{again:?}");
}
