//! gRPC face of the Prices service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::prices_server::Prices;
use tonic::{Request, Response, Status};

use super::{discounts, entries, meterings, rates};
use crate::core::Core;

pub(crate) struct PricesService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Prices for PricesService {
    async fn put_price(
        &self,
        request: Request<pb::PutPriceRequest>,
    ) -> Result<Response<pb::PutPriceResponse>, Status> {
        let (call, message) = self.0.open("Prices/PutPrice", request).await?;
        Ok(Response::new(entries::put(&self.0, &call, message).await?))
    }

    async fn get_price(
        &self,
        request: Request<pb::GetPriceRequest>,
    ) -> Result<Response<pb::GetPriceResponse>, Status> {
        let (call, message) = self.0.open("Prices/GetPrice", request).await?;
        Ok(Response::new(entries::get(&self.0, &call, message).await?))
    }

    async fn list_prices(
        &self,
        request: Request<pb::ListPricesRequest>,
    ) -> Result<Response<pb::ListPricesResponse>, Status> {
        let (call, message) = self.0.open("Prices/ListPrices", request).await?;
        Ok(Response::new(entries::list(&self.0, &call, message).await?))
    }

    async fn delete_price(
        &self,
        request: Request<pb::DeletePriceRequest>,
    ) -> Result<Response<pb::DeletePriceResponse>, Status> {
        let (call, message) = self.0.open("Prices/DeletePrice", request).await?;
        Ok(Response::new(entries::delete(&self.0, &call, message).await?))
    }

    async fn put_metering(
        &self,
        request: Request<pb::PutMeteringRequest>,
    ) -> Result<Response<pb::PutMeteringResponse>, Status> {
        let (call, message) = self.0.open("Prices/PutMetering", request).await?;
        Ok(Response::new(meterings::put(&self.0, &call, message).await?))
    }

    async fn get_metering(
        &self,
        request: Request<pb::GetMeteringRequest>,
    ) -> Result<Response<pb::GetMeteringResponse>, Status> {
        let (call, message) = self.0.open("Prices/GetMetering", request).await?;
        Ok(Response::new(meterings::get(&self.0, &call, message).await?))
    }

    async fn list_meterings(
        &self,
        request: Request<pb::ListMeteringsRequest>,
    ) -> Result<Response<pb::ListMeteringsResponse>, Status> {
        let (call, message) = self.0.open("Prices/ListMeterings", request).await?;
        Ok(Response::new(meterings::list(&self.0, &call, message).await?))
    }

    async fn delete_metering(
        &self,
        request: Request<pb::DeleteMeteringRequest>,
    ) -> Result<Response<pb::DeleteMeteringResponse>, Status> {
        let (call, message) = self.0.open("Prices/DeleteMetering", request).await?;
        Ok(Response::new(meterings::delete(&self.0, &call, message).await?))
    }

    async fn put_discount(
        &self,
        request: Request<pb::PutDiscountRequest>,
    ) -> Result<Response<pb::PutDiscountResponse>, Status> {
        let (call, message) = self.0.open("Prices/PutDiscount", request).await?;
        Ok(Response::new(discounts::put(&self.0, &call, message).await?))
    }

    async fn get_discount(
        &self,
        request: Request<pb::GetDiscountRequest>,
    ) -> Result<Response<pb::GetDiscountResponse>, Status> {
        let (call, message) = self.0.open("Prices/GetDiscount", request).await?;
        Ok(Response::new(discounts::get(&self.0, &call, message).await?))
    }

    async fn list_discounts(
        &self,
        request: Request<pb::ListDiscountsRequest>,
    ) -> Result<Response<pb::ListDiscountsResponse>, Status> {
        let (call, message) = self.0.open("Prices/ListDiscounts", request).await?;
        Ok(Response::new(discounts::list(&self.0, &call, message).await?))
    }

    async fn delete_discount(
        &self,
        request: Request<pb::DeleteDiscountRequest>,
    ) -> Result<Response<pb::DeleteDiscountResponse>, Status> {
        let (call, message) = self.0.open("Prices/DeleteDiscount", request).await?;
        Ok(Response::new(discounts::delete(&self.0, &call, message).await?))
    }

    async fn put_exchange_rate(
        &self,
        request: Request<pb::PutExchangeRateRequest>,
    ) -> Result<Response<pb::PutExchangeRateResponse>, Status> {
        let (call, message) = self.0.open("Prices/PutExchangeRate", request).await?;
        Ok(Response::new(rates::put(&self.0, &call, message).await?))
    }

    async fn list_exchange_rates(
        &self,
        request: Request<pb::ListExchangeRatesRequest>,
    ) -> Result<Response<pb::ListExchangeRatesResponse>, Status> {
        let (call, message) = self.0.open("Prices/ListExchangeRates", request).await?;
        Ok(Response::new(rates::list(&self.0, &call, message).await?))
    }

    async fn delete_exchange_rate(
        &self,
        request: Request<pb::DeleteExchangeRateRequest>,
    ) -> Result<Response<pb::DeleteExchangeRateResponse>, Status> {
        let (call, message) = self.0.open("Prices/DeleteExchangeRate", request).await?;
        Ok(Response::new(rates::delete(&self.0, &call, message).await?))
    }
}
