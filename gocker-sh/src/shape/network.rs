//! The network of a container: its addresses, and the ports that are published.

use serde_json::{Map, Value, json};

use crate::record::Record;

/// The document's `network` section; `null` without one.
pub fn section(record: &Record) -> Value {
    let document = record.document.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
    document.and_then(|document| document.get("network").cloned()).unwrap_or_default()
}

/// Published ports by what they lead to: `80/tcp`, and the host's addresses and ports.
pub fn ports(record: &Record) -> Vec<(String, Vec<(String, u64)>)> {
    let network = section(record);
    let mut found: Vec<(String, Vec<(String, u64)>)> = Vec::new();
    for mapping in network["portMappings"].as_array().into_iter().flatten() {
        let text = |key: &str| mapping[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| mapping[key].as_u64().unwrap_or(0);
        let inside = format!("{}/{}", number("containerPort"), text("protocol"));
        let mut address = text("hostIP");
        if address.is_empty() {
            "0.0.0.0".clone_into(&mut address);
        }
        match found.iter_mut().find(|(port, _)| *port == inside) {
            Some((_, outside)) => outside.push((address, number("hostPort"))),
            None => found.push((inside, vec![(address, number("hostPort"))])),
        }
    }
    found
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`.
pub fn bindings(record: &Record) -> Value {
    let mut published = Map::new();
    for (inside, outside) in ports(record) {
        let one = |(address, port): &(String, u64)| json!({"HostIp": address, "HostPort": port.to_string()});
        published.insert(inside, outside.iter().map(one).collect::<Vec<_>>().into());
    }
    published.into()
}

/// docker's `NetworkSettings`.
pub fn settings(record: &Record) -> Value {
    let network = section(record);
    let alive = record.is_alive();
    let published = if alive { bindings(record) } else { json!({}) };
    let endpoint = endpoint(&network, alive);
    let word = record.network.to_string();
    json!({
        "Bridge": "",
        "SandboxKey": if alive { network["netns"].clone() } else { "".into() },
        "Ports": published,
        "Gateway": endpoint["Gateway"],
        "IPAddress": endpoint["IPAddress"],
        "IPPrefixLen": endpoint["IPPrefixLen"],
        "MacAddress": endpoint["MacAddress"],
        "Networks": {word: endpoint},
    })
}

fn endpoint(network: &Value, alive: bool) -> Value {
    let ips = if alive { network["ips"].as_array().cloned().unwrap_or_default() } else { Vec::new() };
    let of =
        |v6: bool| ips.iter().find(|ip| ip["address"].as_str().is_some_and(|text| text.contains(':') == v6));
    let address = |ip: Option<&Value>| {
        let text = ip.and_then(|ip| ip["address"].as_str()).unwrap_or_default().to_owned();
        let (address, prefix) = text.split_once('/').unwrap_or((&text, "0"));
        (address.to_owned(), prefix.parse::<u64>().unwrap_or(0))
    };
    let gateway =
        |ip: Option<&Value>| ip.and_then(|ip| ip["gateway"].as_str()).unwrap_or_default().to_owned();
    let mac =
        network["interfaces"].as_array().into_iter().flatten().find(|link| link.get("sandbox").is_some());
    let mac = mac.filter(|_| alive).and_then(|link| link["mac"].as_str()).unwrap_or_default();
    let ((v4, prefix), (v6, prefix6)) = (address(of(false)), address(of(true)));
    json!({
        "Gateway": gateway(of(false)),
        "IPAddress": v4,
        "IPPrefixLen": prefix,
        "IPv6Gateway": gateway(of(true)),
        "GlobalIPv6Address": v6,
        "GlobalIPv6PrefixLen": prefix6,
        "MacAddress": mac,
    })
}
