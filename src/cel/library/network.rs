//! IP addresses and networks. Go: k8s.io/apiserver/pkg/cel/library/ip.go and cidr.go, over `net/netip`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::evaluate::{Error, Evaluated};
use super::super::value::Val;
use super::{Run, first, text};

/// A network: an address, which may have bits behind the prefix, and the prefix's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Network {
    address: IpAddr,
    pub(in super::super) bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Go: `parseIPAddr`: no zones, and no IPv4 addresses mapped into IPv6.
fn parse_ip(text: &str) -> Result<IpAddr, Error> {
    let error = |why: &str| Error::new(format!("IP Address {text:?} {why}"));
    let ip: IpAddr = text.parse().map_err(|_| error("parse error during conversion from string"))?;
    if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(error("is IPv4-mapped IPv6, which is not allowed"));
    }
    Ok(ip)
}

/// Go: `netip.ParsePrefix`, `parseCIDR`.
fn parse_network(text: &str) -> Result<Network, Error> {
    let error = || Error::new(format!("network address parse error during conversion from string: {text:?}"));
    let (address, bits) = text.rsplit_once('/').ok_or_else(error)?;
    let address = parse_ip(address)?;
    let sound = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let bits: u8 = bits.parse().ok().filter(|_| sound).ok_or_else(error)?;
    if bits > width(&address) {
        return Err(error());
    }
    Ok(Network { address, bits })
}

fn width(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address with everything behind the first bits cleared.
fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        self.address.is_ipv4() == ip.is_ipv4() && mask(ip, self.bits) == mask(self.address, self.bits)
    }

    /// Go: `Overlaps`, and a prefix that is not longer.
    fn includes(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "string_to_ip" => |_, args| Ok(Val::Ip(parse_ip(text(args, 0)?.as_str())?)),
        "is_ip" => |_, args| Ok(Val::Bool(parse_ip(text(args, 0)?.as_str()).is_ok())),
        "ip_is_canonical" => |_, args| {
            let text = text(args, 0)?.as_str();
            Ok(Val::Bool(parse_ip(text)?.to_string() == text))
        },
        "ip_family" => |_, args| Ok(Val::Int(if ip(args, 0)?.is_ipv4() { 4 } else { 6 })),
        "ip_is_unspecified" => |_, args| ask(args, |ip| ip.is_unspecified()),
        "ip_is_loopback" => |_, args| ask(args, |ip| ip.is_loopback()),
        "ip_is_link_local_multicast" => |_, args| ask(args, is_link_local_multicast),
        "ip_is_link_local_unicast" => |_, args| ask(args, is_link_local_unicast),
        "ip_is_global_unicast" => |_, args| ask(args, is_global_unicast),
        "string_to_cidr" => |_, args| Ok(Val::Cidr(parse_network(text(args, 0)?.as_str())?)),
        "is_cidr" => |_, args| Ok(Val::Bool(parse_network(text(args, 0)?.as_str()).is_ok())),
        "cidr_contains_ip_string" => |_, args| {
            let ip = parse_ip(text(args, 1)?.as_str())?;
            Ok(Val::Bool(network(args, 0)?.contains(ip)))
        },
        "cidr_contains_ip_ip" => |_, args| Ok(Val::Bool(network(args, 0)?.contains(ip(args, 1)?))),
        "cidr_contains_cidr_string" => |_, args| {
            let other = parse_network(text(args, 1)?.as_str())?;
            Ok(Val::Bool(network(args, 0)?.includes(&other)))
        },
        "cidr_contains_cidr" => |_, args| Ok(Val::Bool(network(args, 0)?.includes(&network(args, 1)?))),
        "cidr_ip" => |_, args| Ok(Val::Ip(network(args, 0)?.address)),
        "cidr_prefix_length" => |_, args| Ok(Val::Int(i64::from(network(args, 0)?.bits))),
        "cidr_masked" => |_, args| {
            let Network { address, bits } = network(args, 0)?;
            Ok(Val::Cidr(Network { address: mask(address, bits), bits }))
        },
        _ => return None,
    })
}

fn ip(args: &[Val<'_>], at: usize) -> Result<IpAddr, Error> {
    match args.get(at) {
        Some(Val::Ip(ip)) => Ok(*ip),
        _ => Err(Error::no_such_overload()),
    }
}

fn network(args: &[Val<'_>], at: usize) -> Result<Network, Error> {
    match args.get(at) {
        Some(Val::Cidr(network)) => Ok(*network),
        _ => Err(Error::no_such_overload()),
    }
}

fn ask<'a>(args: &[Val<'a>], holds: fn(&IpAddr) -> bool) -> Evaluated<'a> {
    match first(args)? {
        Val::Ip(ip) => Ok(Val::Bool(holds(ip))),
        _ => Err(Error::no_such_overload()),
    }
}

fn is_link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_global_unicast(ip: &IpAddr) -> bool {
    !ip.is_unspecified()
        && !matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
        && !ip.is_loopback()
        && !ip.is_multicast()
        && !is_link_local_unicast(ip)
}
