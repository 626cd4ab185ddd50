//! Who is who on the wire: the private certificate authority, TLS for every port, and the host's clock and randomness
//! that both need.
//!
//! It decides nothing about what somebody may do. Start at `pki` (how certificates come to be) and `tls` (what a port
//! does with them).

pub mod host;
pub mod pki;
pub mod tls;
