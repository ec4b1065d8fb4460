//! Documents of many sizes, each to be read in as many wordings as are wanted: so that a working
//! set of any size needs few of them.

use bson::{Document, doc};

use crate::parts::asker::Asker;
use crate::parts::shared;

/// From 100 B to 100 KB, as many of each magnitude; 21 MB in all.
pub const DOCUMENTS: i32 = 1500;

pub fn size(id: i32) -> usize {
    (100.0 * 1000_f64.powf(f64::from(id * 7 % DOCUMENTS) / f64::from(DOCUMENTS))) as usize
}

/// Writes them into collection `c`, around any proxy.
pub async fn write(db: &str) {
    let mut direct = Asker::connect(&shared::rs().await.addresses()[0]).await;
    for chunk in (0..DOCUMENTS).collect::<Vec<_>>().chunks(100) {
        let document = |id: &i32| doc! {"_id": id, "filler": "x".repeat(size(*id))};
        let documents: Vec<Document> = chunk.iter().map(document).collect();
        direct
            .ask(&doc! {"insert": "c", "documents": documents, "$db": db})
            .await;
    }
}

/// One document; each wording's answer is an entry of its own.
pub fn find(db: &str, id: i32, wording: i32) -> Document {
    doc! {"find": "c", "filter": {"_id": id, "w": {"$ne": wording}}, "$db": db}
}
