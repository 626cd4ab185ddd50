//! What carries tags, and the meter that came with them: later forms of rows and records that were there before.

use std::sync::Arc;

use only1mcp_domain::activity::{AuditRead, AuditReadKind, Completion, Hold, Record};
use only1mcp_domain::command::{Command, CorrectCost};
use only1mcp_domain::cost::{Cost, CostPlace, CostRecord, PricedLine};
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::model::{CostTags, Tags, Tenant};
use only1mcp_domain::money::PicoUsd;
use only1mcp_domain::price::{Meter, Metering};
use only1mcp_domain::row::RowValue;

use crate::random::Gen;

impl Gen {
    fn tags(&mut self) -> Tags {
        self.list(|g| (g.text(), g.text())).into_iter().collect()
    }

    fn tagged_cost(&mut self) -> Box<Cost> {
        let stored = PricedLine {
            meter: Meter::StoredByte,
            units: self.number(),
            price: None,
            price_version: self.number(),
            exchange_version: self.number(),
            pico_usd: PicoUsd(self.money()),
        };
        Box::new(Cost { tags: self.tags(), lines: vec![stored], ..self.cost() })
    }

    pub fn tagged_rows(&mut self) -> Vec<RowValue> {
        let cost_tags = CostTags {
            fixed: self.tags(),
            attributes: self.list(Gen::text),
            call_keys: self.list(Gen::text),
        };
        vec![
            RowValue::Tenant(self.versioned(|g| Tenant { cost_tags, ..g.tenant() })),
            RowValue::Metering(self.versioned(|g| Arc::new(Metering { tags: g.tags(), ..g.metering() }))),
            RowValue::Cost(Box::new(CostRecord {
                cost: Some(self.tagged_cost()),
                corrects: Some(self.place()),
                ..self.cost_record()
            })),
            RowValue::Corrected {
                tenant: self.tenant_id(),
                record: AuditIndex(self.number()),
                part: self.number32(),
            },
        ]
    }

    fn place(&mut self) -> CostPlace {
        CostPlace { at: self.time(), index: AuditIndex(self.number()), part: self.number32() }
    }

    pub fn correction(&mut self) -> Command {
        Command::CorrectCost(Box::new(CorrectCost {
            tenant: self.tenant_id(),
            record: self.place(),
            charges: Vec::new(),
            reason: self.text(),
        }))
    }

    pub fn tagged_records(&mut self) -> Vec<Record> {
        let mut admission = self.admission();
        admission.counts = self.list(|g| Hold { account: g.account_key(), end: g.time(), amount: g.money() });
        (admission.tags, admission.quote) = (self.tags(), Some(Box::new(self.quote())));
        let completion = Completion { cost: Some(self.tagged_cost()), ..self.completion() };
        let read = |g: &mut Self, kind| Record::AuditRead(Box::new(AuditRead { kind, ..g.audit_read() }));
        vec![
            Record::Admission(Box::new(admission)),
            Record::Completion(completion),
            read(self, AuditReadKind::CostReport),
            read(self, AuditReadKind::CostExport),
        ]
    }
}
