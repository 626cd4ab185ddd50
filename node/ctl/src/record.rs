//! What all records that are kept by name have in common here: they are set, deleted and listed alike.

use std::future::Future;

use clap::Args;
use only1mcp_proto::admin as pb;
use serde_json::json;
use tonic::{Response, Status};

use super::session::Session;
use super::write::WriteArgs;

/// Whose records.
#[derive(Args, Debug)]
pub(super) struct OfTenant {
    /// Your own where it is left out.
    #[arg(long, default_value = "")]
    pub(super) tenant: String,
}

#[derive(Args, Debug)]
pub(super) struct Named {
    pub(super) id: String,
    /// Your own where it is left out.
    #[arg(long, default_value = "")]
    pub(super) tenant: String,
}

#[derive(Args, Debug)]
pub(super) struct Removal {
    #[command(flatten)]
    pub(super) of: Named,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Records asked for at one time.
pub(super) const PAGE: u32 = 500;

/// The answer to a write of one record.
pub(super) trait Written {
    fn result(self) -> Option<pb::WriteResult>;
}

/// One page of a list, and the token of the next one; empty at the end.
pub(super) trait Page {
    type Record;
    fn take(self) -> (Vec<Self::Record>, String);
}

macro_rules! answers {
    ($($write:ident)*; $($list:ident $record:ident,)*) => {
        $(impl Written for pb::$write {
            fn result(self) -> Option<pb::WriteResult> {
                self.result
            }
        })*
        $(impl Page for pb::$list {
            type Record = pb::$record;

            fn take(self) -> (Vec<pb::$record>, String) {
                (self.records, self.next_page_token)
            }
        })*
    };
}

answers! {
    PutBudgetResponse DeleteBudgetResponse PutPriceResponse DeletePriceResponse PutMeteringResponse
    DeleteMeteringResponse PutDiscountResponse DeleteDiscountResponse
    DeleteWebhookResponse EraseSubjectResponse HoldSubjectResponse;
    ListBudgetsResponse BudgetRecord,
    ListPricesResponse PriceRecord,
    ListMeteringsResponse MeteringRecord,
    ListDiscountsResponse DiscountRecord,
    ListExchangeRatesResponse ExchangeRateRecord,
    ListWebhooksResponse WebhookRecord,
}

impl Session {
    /// Sends the write of one record, and says that `id`, a `kind`, is `done`.
    pub(super) async fn write_record<T: Written, F>(
        &self,
        (kind, id): (&str, &str),
        done: &str,
        attempt: impl Fn() -> F,
    ) -> anyhow::Result<()>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let result = self.send(attempt).await?.result();
        self.written(&format!("{kind} {id} is {done}"), result, json!({kind: id}))
    }

    /// Every record of a list, page by page.
    pub(super) async fn pages<T: Page, F>(&self, page: impl Fn(String) -> F) -> Result<Vec<T::Record>, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut records = Vec::new();
        let mut token = String::new();
        loop {
            let (more, next) = page(token).await?.into_inner().take();
            records.extend(more);
            if next.is_empty() {
                return Ok(records);
            }
            token = next;
        }
    }
}
