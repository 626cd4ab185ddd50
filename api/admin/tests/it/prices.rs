//! Prices: exact texts both ways, every fault by its field, lists in pages, who may set and who may see.

use only1mcp_proto::admin as pb;
use pb::meter_source::Source;
use pb::price::Subject;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::memory::NOW_MS;
use crate::samples::{discount, metering, price, rate};
use crate::world::{World, code};

fn put(price: pb::Price) -> pb::PutPriceRequest {
    pb::PutPriceRequest { options: None, price: Some(price) }
}

fn line(meter: &str, price: &str) -> pb::PriceLine {
    pb::PriceLine { meter: meter.into(), price: price.into(), ..Default::default() }
}

fn lines(lines: Vec<pb::PriceLine>) -> pb::Price {
    pb::Price { lines, ..price("acme", "p") }
}

async fn get(world: &World, key: &str, id: &str) -> Result<pb::PriceRecord, Status> {
    let request = pb::GetPriceRequest { tenant: "acme".into(), price: id.into(), ..Default::default() };
    world.prices(key).get_price(request).await.map(|answer| answer.into_inner().record.unwrap())
}

/// The field that a refusal names.
fn field(status: &Status) -> String {
    let info = status.get_error_details().error_info().cloned();
    info.and_then(|info| info.metadata.get("field").cloned()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_put_is_read_changed_and_deleted() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let model = pb::ModelName { provider: "maker".into(), model: "big/1".into() };
    let asked = pb::Price {
        tenant: String::new(),
        subject: Some(Subject::Model(model.clone())),
        lines: vec![
            pb::PriceLine { unit: 1_000_000, ..line("uncached_input", "2.50") },
            pb::PriceLine { unit: 1_000_000, tier_from: 5_000_000, ..line("uncached_input", "2.5e-6") },
        ],
        free: vec!["byte".into()],
        ..price("acme", "p")
    };
    world.prices(&admin).put_price(put(asked)).await.unwrap();
    let record = get(&world, &admin, "p").await.unwrap();
    let stored = record.price.unwrap();
    assert_eq!((stored.tenant.as_str(), stored.currency.as_str()), ("acme", "USD"));
    assert_eq!((stored.subject, stored.valid_from_ms), (Some(Subject::Model(model)), Some(NOW_MS)));
    let texts: Vec<_> =
        stored.lines.iter().map(|line| (line.tier_from, line.unit, line.price.as_str())).collect();
    assert_eq!(texts, [(0, 1_000_000, "2.5"), (5_000_000, 1_000_000, "0.0000025")]);
    assert_eq!(stored.free, ["byte"]);
    // A change under the revision it was read at, and once more under the same, which is gone.
    let options = || Some(pb::WriteOptions { if_revision: Some(record.revision), ..Default::default() });
    let changed = pb::PutPriceRequest { options: options(), price: Some(price("acme", "p")) };
    world.prices(&admin).put_price(changed.clone()).await.unwrap();
    let after = get(&world, &admin, "p").await.unwrap().price.unwrap();
    assert_eq!(after.subject, Some(Subject::Tools("files__*".into())));
    assert_eq!((after.lines[0].unit, after.lines[0].price.as_str()), (1, "0.02"));
    assert!(after.version > stored.version);
    let refused = world.prices(&admin).put_price(changed).await.unwrap_err();
    assert_eq!(code(&refused), "REVISION_MISMATCH");
    // In pages, in the order of their ids.
    let other = pb::Price { subject: Some(Subject::Tools("a__*".into())), ..price("acme", "a") };
    world.prices(&admin).put_price(put(other)).await.unwrap();
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListPricesRequest { page_size: 1, page_token, ..Default::default() };
        let page = world.prices(&admin).list_prices(request).await.unwrap().into_inner();
        ids.extend(page.records.into_iter().map(|record| record.price.unwrap().id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["a", "p"]);
    let request = || pb::DeletePriceRequest { price: "p".into(), ..Default::default() };
    world.prices(&admin).delete_price(request()).await.unwrap();
    assert_eq!(get(&world, &admin, "p").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(world.prices(&admin).delete_price(request()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn every_fault_of_a_price_is_told_by_its_field() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let many: Vec<_> = (0..65).map(|n| pb::PriceLine { tier_from: n, ..line("call", "1") }).collect();
    let digits = "9".repeat(40);
    let mut wrong = vec![
        ("lines[0].meter", lines(vec![line("tokens", "1")])),
        ("lines", lines(Vec::new())),
        ("lines", lines(many)),
        ("lines[0].tier_from", lines(vec![pb::PriceLine { tier_from: 1, ..line("call", "1") }])),
        ("lines[1].meter", lines(vec![line("call", "1"), line("call", "2")])),
        ("lines[0].unit", lines(vec![pb::PriceLine { unit: u64::MAX, ..line("call", "1") }])),
        ("free[0]", pb::Price { free: vec!["call".into()], ..lines(vec![line("call", "1")]) }),
        ("currency", pb::Price { currency: "usd".into(), ..price("acme", "p") }),
        ("currency", pb::Price { currency: "EUR".into(), ..price("acme", "p") }),
        ("subject", pb::Price { subject: None, ..price("acme", "p") }),
        ("tools", pb::Price { subject: Some(Subject::Tools(String::new())), ..price("acme", "p") }),
        ("model", pb::Price { subject: Some(Subject::Model(Default::default())), ..price("acme", "p") }),
        ("id", price("acme", "no spaces please")),
    ];
    for text in ["", "0", "-1", "NaN", "inf", "1,5", "0x1", "1e99", "1000000001", "1e-31", digits.as_str()] {
        wrong.push(("lines[0].price", lines(vec![line("call", text)])));
    }
    for (place, asked) in wrong {
        let shown = format!("{asked:?}");
        let refused = world.prices(&admin).put_price(put(asked)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{shown}: {refused}");
        assert_eq!(code(&refused), "INVALID", "{shown}");
        let found = if place == "model" { "provider" } else { place };
        assert!(field(&refused).contains(found), "{shown}: {refused} names {}", field(&refused));
    }
    assert_eq!(get(&world, &admin, "p").await.unwrap_err().code(), Code::NotFound);
    // The highest price there may be, and two for one subject from one moment on.
    world.prices(&admin).put_price(put(lines(vec![line("call", "1000000000")]))).await.unwrap();
    let stored = get(&world, &admin, "p").await.unwrap().price.unwrap();
    let twin = pb::Price { id: "q".into(), valid_from_ms: stored.valid_from_ms, ..price("acme", "q") };
    let refused = world.prices(&admin).put_price(put(twin)).await.unwrap_err();
    assert_eq!((code(&refused).as_str(), field(&refused).as_str()), ("INVALID", "valid_from"), "{refused}");
}

#[tokio::test]
async fn meterings_are_read_as_they_were_put_and_refused_by_field() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = |metering| pb::PutMeteringRequest { options: None, metering: Some(metering) };
    world.prices(&admin).put_metering(request(metering("", "m"))).await.unwrap();
    let read = || pb::GetMeteringRequest { metering: "m".into(), ..Default::default() };
    let answer = world.prices(&admin).get_metering(read()).await.unwrap().into_inner();
    assert_eq!(answer.record.unwrap().metering, Some(metering("acme", "m")));
    let pointing = |pointer: &str| {
        let source = Some(Source::Pointer(pointer.into()));
        vec![pb::MeterSource { meter: "output".into(), source }]
    };
    let minus = |minus: Vec<String>| {
        let source = Some(Source::Difference(pb::PointerDifference { of: "/a".into(), minus }));
        vec![pb::MeterSource { meter: "output".into(), source }]
    };
    let counted =
        |counted| vec![pb::MeterSource { meter: "output".into(), source: Some(Source::Counted(counted)) }];
    let usage = |usage| pb::Metering { usage, ..metering("acme", "m") };
    let bounds = |bounds: &[(&str, u64)]| {
        let bounds = bounds.iter();
        let bounds = bounds.map(|(meter, units)| pb::MeterUnits { meter: (*meter).into(), units: *units });
        pb::Metering { bounds: bounds.collect(), ..metering("acme", "m") }
    };
    let twice = [pointing("/a"), pointing("/b")].concat();
    let long = format!("/{}", "a".repeat(512));
    for (place, asked) in [
        ("usage", usage(Vec::new())),
        ("usage[0].pointer", usage(pointing("usage/output"))),
        ("usage[0].pointer", usage(pointing("/usage~2"))),
        ("usage[0].pointer", usage(pointing(""))),
        ("usage[0].pointer", usage(pointing(&long))),
        ("usage[0].minus", usage(minus(Vec::new()))),
        ("usage[0].minus", usage(minus(vec!["/a".into(); 9]))),
        ("usage[0].minus[1]", usage(minus(vec!["/a".into(), "b".into()]))),
        ("usage[0].source", usage(counted(true))),
        ("usage[0].source", usage(counted(false))),
        ("usage[1].meter", usage(twice)),
        ("usage", usage(vec![pointing("/a"); 10].concat())),
        ("bounds[0].meter", bounds(&[("tokens", 1)])),
        ("bounds[1].meter", bounds(&[("output", 1), ("output", 2)])),
        ("bounds.output", bounds(&[("output", u64::MAX)])),
        ("total_pointer", pb::Metering { total_pointer: Some("total".into()), ..metering("acme", "m") }),
        ("provider", pb::Metering { provider: String::new(), ..metering("acme", "m") }),
        ("tools", pb::Metering { tools: String::new(), ..metering("acme", "m") }),
    ] {
        let refused = world.prices(&admin).put_metering(request(asked)).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "INVALID"), "{place}");
        assert!(field(&refused).ends_with(place), "{place}: {refused} names {}", field(&refused));
    }
    let page = world.prices(&admin).list_meterings(pb::ListMeteringsRequest::default()).await.unwrap();
    assert_eq!(page.into_inner().records.len(), 1);
    let delete = || pb::DeleteMeteringRequest { metering: "m".into(), ..Default::default() };
    world.prices(&admin).delete_metering(delete()).await.unwrap();
    assert_eq!(world.prices(&admin).get_metering(read()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn discounts_and_rates_are_exact() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = |discount| pb::PutDiscountRequest { options: None, discount: Some(discount) };
    let kinds = [
        pb::discount::Kind::Cache(pb::CacheDiscount { share_above: "0.5".into(), factor: "0.9".into() }),
        pb::discount::Kind::Volume(pb::VolumeDiscount {
            tiers: vec![pb::VolumeTier { from: 1_000_000, factor: "0.95".into() }],
        }),
        pb::discount::Kind::Commitment(pb::CommitmentDiscount { factor: "0.8".into() }),
    ];
    for kind in kinds {
        let asked = pb::Discount { kind: Some(kind.clone()), ..discount("acme", "d") };
        world.prices(&admin).put_discount(request(asked)).await.unwrap();
        let read = pb::GetDiscountRequest { discount: "d".into(), ..Default::default() };
        let answer = world.prices(&admin).get_discount(read).await.unwrap().into_inner();
        assert_eq!(answer.record.unwrap().discount.unwrap().kind, Some(kind));
    }
    for factor in ["", "1.1", "-0.5", "NaN"] {
        let kind = pb::discount::Kind::Commitment(pb::CommitmentDiscount { factor: factor.into() });
        let asked = pb::Discount { kind: Some(kind), ..discount("acme", "d") };
        let refused = world.prices(&admin).put_discount(request(asked)).await.unwrap_err();
        assert!(field(&refused).ends_with("commitment.factor"), "{factor}: {refused}");
    }
    // A rate is every tenant's: the operators set it, everybody who may see costs sees it.
    let request = |rate| pb::PutExchangeRateRequest { options: None, rate: Some(rate) };
    let refused = world.prices(&admin).put_exchange_rate(request(rate("EUR"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let root = world.root_key.clone();
    for (place, wrong) in [
        ("currency", rate("usd")),
        ("currency", rate("USD")),
        ("usd_per_unit", pb::ExchangeRate { usd_per_unit: "0".into(), ..rate("EUR") }),
        ("usd_per_unit", pb::ExchangeRate { usd_per_unit: "1000001".into(), ..rate("EUR") }),
        ("usd_per_unit", pb::ExchangeRate { usd_per_unit: "x".into(), ..rate("EUR") }),
    ] {
        let refused = world.prices(&root).put_exchange_rate(request(wrong)).await.unwrap_err();
        assert!(field(&refused).ends_with(place), "{place}: {refused}");
    }
    world.prices(&root).put_exchange_rate(request(rate("EUR"))).await.unwrap();
    let later = pb::ExchangeRate { valid_from_ms: Some(NOW_MS + 5), ..rate("EUR") };
    world.prices(&root).put_exchange_rate(request(later)).await.unwrap();
    world.prices(&root).put_exchange_rate(request(rate("GBP"))).await.unwrap();
    let list = |currency: &str, page_token: String| pb::ListExchangeRatesRequest {
        currency: currency.into(),
        page_size: 2,
        page_token,
        ..Default::default()
    };
    let page = world.prices(&admin).list_exchange_rates(list("", String::new())).await.unwrap().into_inner();
    let rest = world.prices(&admin).list_exchange_rates(list("", page.next_page_token)).await.unwrap();
    let rates: Vec<_> = page.records.into_iter().chain(rest.into_inner().records).collect();
    let names = rates.iter().map(|record| record.rate.as_ref().unwrap());
    let names: Vec<_> = names.map(|rate| (rate.currency.as_str(), rate.valid_from_ms.unwrap())).collect();
    assert_eq!(names, [("EUR", NOW_MS), ("EUR", NOW_MS + 5), ("GBP", NOW_MS)]);
    let euros = world.prices(&admin).list_exchange_rates(list("EUR", String::new())).await.unwrap();
    assert_eq!(euros.into_inner().records.len(), 2);
    // A price in a currency with a rate.
    let asked = pb::Price { currency: "EUR".into(), ..price("acme", "p") };
    world.prices(&admin).put_price(put(asked)).await.unwrap();
    let delete = || pb::DeleteExchangeRateRequest {
        currency: "GBP".into(),
        valid_from_ms: NOW_MS,
        ..Default::default()
    };
    world.prices(&root).delete_exchange_rate(delete()).await.unwrap();
    let gone = world.prices(&root).delete_exchange_rate(delete()).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn who_may_see_prices_may_not_set_them() {
    let world = World::new().await;
    world.prices(world.key("acme/admin")).put_price(put(price("acme", "p"))).await.unwrap();
    let developer = world.key("acme/developer").to_owned();
    get(&world, &developer, "p").await.unwrap();
    let refused = world.prices(&developer).put_price(put(price("acme", "p"))).await.unwrap_err();
    assert_eq!(code(&refused), "NO_PERMISSION");
    let shared =
        world.prices(world.key("acme/admin")).put_price(put(price("system", "p"))).await.unwrap_err();
    assert_eq!(shared.code(), Code::PermissionDenied, "what holds for everybody is the operators'");
}
