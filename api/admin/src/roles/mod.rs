//! The Roles service: roles, grants, and the rules that stand beside them.

mod definitions;
mod grants;
mod rules;
mod service;

pub(crate) use service::RolesService;
