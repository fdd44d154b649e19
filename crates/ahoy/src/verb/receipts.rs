//! `ahoy receipts read|delivered|nothing`

use serde_json::json;

use crate::cli::{Common, Receipts, ReceiptsTell};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Receipts, tell: Tell) -> Result<(), Failure> {
    let (profile, _) = place::signed_in(common)?;
    let (delivered, read, word, text) = match arguments.tell {
        ReceiptsTell::Read => {
            (true, true, "read", "Others see when messages have arrived here and when you have read them.")
        }
        ReceiptsTell::Delivered => {
            (true, false, "delivered", "Others see when messages have arrived here, and no more.")
        }
        ReceiptsTell::Nothing => {
            (false, false, "nothing", "Others see neither that messages have arrived here nor that you have read them.")
        }
    };
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let set = client.set_receipts(delivered, read).await;
        client.close().await;
        set?;
        tell.event("receipts", &json!({ "tell": word }), text);
        Ok(())
    })
}
