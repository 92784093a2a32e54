//! `--userns`: whose ids the container's are.

use anyhow::{Context, Result, ensure};
use oci_spec::runtime::LinuxIdMapping;

/// Users and groups; `None`: the host's own.
pub type Maps = Option<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>)>;

/// `host`, `ID:SIZE`, or a name that the host's /etc/subuid and /etc/subgid (subuid(5)) list, as docker's
/// `userns-remap`.
///
/// # Errors
/// It is none of these.
pub fn maps(text: Option<&str>, subuid: &str, subgid: &str) -> Result<Maps> {
    let Some(text) = text.filter(|text| *text != "host") else { return Ok(None) };
    let parse = || {
        if let Some((first, size)) = text.split_once(':') {
            let map = map(first, size).context("it is not ID:SIZE")?;
            return Ok((vec![map], vec![map]));
        }
        let users = ranges(text, subuid);
        let groups = ranges(text, subgid);
        ensure!(!users.is_empty(), "no such name in /etc/subuid");
        ensure!(!groups.is_empty(), "no such name in /etc/subgid");
        Ok((users, groups))
    };
    parse().map(Some).with_context(|| format!("cannot use --userns={text}"))
}

fn map(first: &str, size: &str) -> Option<LinuxIdMapping> {
    from(0, first.parse().ok()?, size.parse().ok().filter(|size| *size > 0)?)
}

fn from(container: u32, host: u32, size: u32) -> Option<LinuxIdMapping> {
    host.checked_add(size)?;
    let builder = oci_spec::runtime::LinuxIdMappingBuilder::default();
    builder.container_id(container).host_id(host).size(size).build().ok()
}

/// All ranges of a name, one behind the other.
fn ranges(name: &str, file: &str) -> Vec<LinuxIdMapping> {
    let mut next = 0;
    let lines = file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (owner, first, size) = (fields.next()?, fields.next()?, fields.next()?);
        (owner == name).then_some((first.trim().parse().ok()?, size.trim().parse().ok()?))
    });
    let mut maps = Vec::new();
    for (first, size) in lines {
        maps.extend(from(next, first, size));
        next = next.saturating_add(size);
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        match maps(Some(text), "a:100:10\nb:5:5\na:1000:20\n", "a:100:30\n") {
            Ok(None) => "host".to_owned(),
            Ok(Some((users, groups))) => {
                let show = |maps: Vec<LinuxIdMapping>| {
                    let one = |map: &LinuxIdMapping| {
                        format!("{}={}+{}", map.container_id(), map.host_id(), map.size())
                    };
                    maps.iter().map(one).collect::<Vec<_>>().join(",")
                };
                format!("{} {}", show(users), show(groups))
            }
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn ids_by_number_and_by_name() {
        assert_eq!(of("host"), "host");
        assert_eq!(of("100000:65536"), "0=100000+65536 0=100000+65536");
        assert_eq!(of("a"), "0=100+10,10=1000+20 0=100+30");
        assert_eq!(of("b"), "cannot use --userns=b: no such name in /etc/subgid");
        assert_eq!(of("c"), "cannot use --userns=c: no such name in /etc/subuid");
        assert_eq!(of("x:1"), "cannot use --userns=x:1: it is not ID:SIZE");
        assert_eq!(of("1:0"), "cannot use --userns=1:0: it is not ID:SIZE");
    }
}
