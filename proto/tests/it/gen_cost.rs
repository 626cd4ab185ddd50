//! Prices, meterings, discounts, rates, quotes, costs and their records.

use std::sync::Arc;

use only1mcp_domain::activity::{Admission, Completion, Record};
use only1mcp_domain::command::{Command, CorrectCost};
use only1mcp_domain::cost::{Cost, CostCharge, CostKind, CostPlace, CostRecord, PricedLine};
use only1mcp_domain::ids::{AuditIndex, CallId, DiscountId, MeteringId, PriceId};
use only1mcp_domain::model::{Measure, Tags};
use only1mcp_domain::money::{Exact, PicoUsd};
use only1mcp_domain::price::{
    Amounts, CacheDiscount, CommitmentDiscount, Currency, Discount, DiscountKind, Discounts, ExchangeRate,
    Meter, Metering, PriceEntry, PriceLine, PriceSubject, Quote, QuoteLine, QuoteRate, Step, Taken,
    UsageSource, VolumeDiscount, VolumeTier,
};
use only1mcp_domain::row::RowValue;

use crate::random::Gen;

/// Those that there were when the first golden bytes were written; `gen_tags.rs` has the others.
const METERS: usize = 8;

impl Gen {
    fn exact(&mut self) -> Exact {
        Exact::from_parts(u128::from(self.bits() % 1_000_000_007), (self.bits() % 20) as u8).unwrap()
    }

    fn meter(&mut self) -> Meter {
        // Not the last ones: the golden bytes must not move when a meter is added.
        self.pick(&Meter::ALL[..METERS])
    }

    fn amounts(&mut self) -> Amounts {
        let mut amounts = Amounts::default();
        for meter in Meter::ALL.into_iter().take(METERS) {
            if self.flag() {
                amounts.set(meter, self.number());
            }
        }
        amounts
    }

    fn price_id(&mut self) -> PriceId {
        PriceId::new(self.slug()).unwrap()
    }

    fn discount_id(&mut self) -> DiscountId {
        DiscountId::new(self.slug()).unwrap()
    }

    fn metering_id(&mut self) -> MeteringId {
        MeteringId::new(self.slug()).unwrap()
    }

    fn currency(&mut self) -> Currency {
        let letters: String = (0..3).map(|_| char::from(b'A' + (self.bits() % 26) as u8)).collect();
        Currency::parse(&letters).unwrap()
    }

    fn price(&mut self) -> PriceEntry {
        let model = PriceSubject::Model { provider: self.text(), model: self.text() };
        let tool = PriceSubject::Tool(self.glob());
        PriceEntry {
            id: self.price_id(),
            tenant: self.tenant_id(),
            subject: self.pick(&[model, tool]),
            currency: self.currency(),
            valid_from: self.time(),
            version: self.number(),
            lines: self.list(|g| PriceLine {
                meter: g.meter(),
                tier_from: g.number(),
                unit: g.number(),
                price: g.exact(),
            }),
            free: self.list(Gen::meter),
        }
    }

    pub fn metering(&mut self) -> Metering {
        Metering {
            id: self.metering_id(),
            tenant: self.tenant_id(),
            tools: self.glob(),
            provider: self.text(),
            model: self.text(),
            model_pointer: self.option(Gen::text),
            total_pointer: self.option(Gen::text),
            usage: self.list(|g| {
                let pointer = UsageSource::Pointer(g.text());
                let difference = UsageSource::Difference { of: g.text(), minus: g.list(Gen::text) };
                (g.meter(), g.pick(&[UsageSource::Counted, pointer, difference]))
            }),
            bounds: self.amounts(),
            tags: Tags::new(),
        }
    }

    fn cache(&mut self) -> CacheDiscount {
        CacheDiscount { share_above: self.exact(), factor: self.exact() }
    }

    fn volume(&mut self) -> VolumeDiscount {
        VolumeDiscount { tiers: self.list(|g| VolumeTier { from: g.number(), factor: g.exact() }) }
    }

    fn commitment(&mut self) -> CommitmentDiscount {
        CommitmentDiscount { factor: self.exact() }
    }

    fn discount(&mut self) -> Discount {
        let kinds = [
            DiscountKind::Cache(self.cache()),
            DiscountKind::Commitment(self.commitment()),
            DiscountKind::Volume(self.volume()),
        ];
        Discount {
            id: self.discount_id(),
            tenant: self.tenant_id(),
            kind: self.pick(&kinds),
            valid_from: self.time(),
            version: self.number(),
        }
    }

    fn rate(&mut self) -> ExchangeRate {
        ExchangeRate {
            currency: self.currency(),
            usd_per_unit: self.exact(),
            valid_from: self.time(),
            version: self.number(),
        }
    }

    fn taken<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Option<Taken<T>> {
        self.option(|g| Taken { id: g.discount_id(), version: g.number(), terms: make(g) })
    }

    pub fn quote(&mut self) -> Quote {
        Quote {
            lines: self.list(|g| QuoteLine {
                meter: g.meter(),
                bound: g.option(Gen::number),
                rate: g.option(|g| QuoteRate {
                    price: g.price_id(),
                    price_version: g.number(),
                    unit: g.number(),
                    steps: g.list(|g| Step { from: g.number(), price: g.exact() }),
                    usd_per_unit: g.exact(),
                    exchange_version: g.number(),
                }),
            }),
            discounts: Discounts {
                cache: self.taken(Gen::cache),
                volume: self.taken(Gen::volume),
                commitment: self.taken(Gen::commitment),
            },
            used_before: self.amounts(),
        }
    }

    pub fn cost(&mut self) -> Cost {
        Cost {
            caller_tenant: self.tenant_id(),
            principal: self.principal_id(),
            project: self.option(Gen::project_id),
            cost_center: self.text(),
            kind: self.item_kind(),
            item: self.text(),
            upstream: self.upstream_id(),
            provider: self.text(),
            model: self.text(),
            model_answered: self.text(),
            metering: self.option(Gen::metering_id),
            lines: self.list(|g| PricedLine {
                meter: g.meter(),
                units: g.number(),
                price: g.option(Gen::price_id),
                price_version: g.number(),
                exchange_version: g.number(),
                pico_usd: PicoUsd(g.money()),
            }),
            discounts: self.list(|g| (g.discount_id(), g.number())),
            held: PicoUsd(self.money()),
            at_hold: self.flag(),
            month: self.time(),
            tags: Tags::new(),
        }
    }

    pub fn cost_record(&mut self) -> CostRecord {
        CostRecord {
            tenant: self.tenant_id(),
            log_time: self.time(),
            audit_index: AuditIndex(self.number()),
            part: self.number32(),
            kind: self.pick(&CostKind::ALL),
            node: self.node_id(),
            call: self.option(|g| CallId(g.raw())),
            observed_at: self.time(),
            cost: self.option(|g| Box::new(g.cost())),
            charges: self.list(|g| CostCharge {
                account: g.account_key(),
                measure: g.option(|g| g.pick(&[Measure::Cost, Measure::Tokens, Measure::Calls])),
                amount: g.money(),
            }),
            corrects: self.option(|g| CostPlace { at: g.time(), index: AuditIndex(g.number()), part: 0 }),
        }
    }

    pub fn cost_commands(&mut self) -> Vec<Command> {
        vec![
            Command::PutPrice { price: Box::new(self.price()), if_revision: self.option(Gen::number) },
            Command::DeletePrice { tenant: self.tenant_id(), price: self.price_id() },
            Command::PutMetering {
                metering: Box::new(self.metering()),
                if_revision: self.option(Gen::number),
            },
            Command::DeleteMetering { tenant: self.tenant_id(), metering: self.metering_id() },
            Command::PutDiscount {
                discount: Box::new(self.discount()),
                if_revision: self.option(Gen::number),
            },
            Command::DeleteDiscount { tenant: self.tenant_id(), discount: self.discount_id() },
            Command::PutExchangeRate(self.rate()),
            Command::DeleteExchangeRate { currency: self.currency(), valid_from: self.time() },
            Command::CorrectCost(Box::new(CorrectCost {
                tenant: self.tenant_id(),
                record: CostPlace { at: self.time(), index: AuditIndex(self.number()), part: 0 },
                charges: self.list(|g| (g.account_key(), g.money())),
                reason: self.text(),
            })),
        ]
    }

    pub fn cost_rows(&mut self) -> Vec<RowValue> {
        vec![
            RowValue::Price(self.versioned(|g| Arc::new(g.price()))),
            RowValue::Metering(self.versioned(|g| Arc::new(g.metering()))),
            RowValue::Discount(self.versioned(|g| Arc::new(g.discount()))),
            RowValue::Rate(self.versioned(Gen::rate)),
            RowValue::MonthUsage { tenant: self.tenant_id(), month: self.time(), used: self.amounts() },
            RowValue::Corrected { tenant: self.tenant_id(), record: AuditIndex(self.number()), part: 0 },
            RowValue::Cost(Box::new(self.cost_record())),
            RowValue::Raised {
                tenant: self.tenant_id(),
                metering: self.metering_id(),
                bounds: self.amounts(),
            },
        ]
    }

    /// An admission and a completion of a call that has a price.
    pub fn priced_records(&mut self) -> Vec<Record> {
        let admission = Admission { quote: Some(Box::new(self.quote())), ..self.admission() };
        let completion = Completion { cost: Some(Box::new(self.cost())), ..self.completion() };
        vec![Record::Admission(Box::new(admission)), Record::Completion(completion)]
    }
}
