//! What a container uses, where runc's readers look for it (the `data` of an event of runc's `events`): nanoseconds, bytes.

use serde_json::{Map, Value, json};

/// cgctl's figures, and the text of the container's /proc/PID/net/dev, in that shape.
pub fn shaped(figures: &Value, devices: &str) -> Value {
    let number = |path: &str| figures.pointer(path).and_then(Value::as_u64);
    let file = |name: &str| figures.get("files").and_then(|files| files.get(name));
    let memory_stat = file("memory.stat");
    let cache = ["cache", "file"].iter().find_map(|key| memory_stat?.get(key)?.as_u64());
    json!({
        "cpu": cpu(number("/cpu/usageUsec").unwrap_or(0) * 1000, &file),
        "memory": {
            "cache": cache.unwrap_or(0),
            "usage": {
                "usage": number("/memory/current").unwrap_or(0),
                "max": number("/memory/peak").unwrap_or(0),
                "limit": number("/memory/limit").unwrap_or(u64::MAX),
                "failcnt": number("/files/memory.failcnt").unwrap_or(0),
            },
            "raw": memory_stat.cloned().unwrap_or_else(|| json!({})),
        },
        "pids": {"current": number("/pids/current").unwrap_or(0), "limit": number("/pids/limit").unwrap_or(0)},
        "blkio": blkio(&file),
        "network_interfaces": interfaces(devices),
        "oom_kills": number("/oomKills").unwrap_or(0),
    })
}

type File<'a> = dyn Fn(&str) -> Option<&'a Value> + 'a;

/// On v2 the kernel does not tell one processor from the other.
fn cpu(total: u64, file: &File) -> Value {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let stat = |key: &str| number(file("cpu.stat").and_then(|stat| stat.get(key)));
    let mode = |v1: &str, v2: &str| number(file(v1)).or(stat(v2).map(|usec| usec * 1000)).unwrap_or(0);
    let each =
        file("cpuacct.usage_percpu").map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
    let each: Vec<u64> = each.iter().flat_map(|text| text.split_whitespace()).flat_map(str::parse).collect();
    json!({
        "usage": {
            "total": total,
            "percpu": each,
            "kernel": mode("cpuacct.usage_sys", "system_usec"),
            "user": mode("cpuacct.usage_user", "user_usec"),
        },
        "throttling": {
            "periods": stat("nr_periods").unwrap_or(0),
            "throttledPeriods": stat("nr_throttled").unwrap_or(0),
            "throttledTime": stat("throttled_time").or(stat("throttled_usec").map(|usec| usec * 1000)).unwrap_or(0),
        },
    })
}

/// Each device's, by operation.
fn blkio(file: &File) -> Value {
    let bytes = ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"];
    let operations = ["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"];
    let v1 = |names: [&str; 2]| names.iter().find_map(|name| file(name)).map(|of| entries(of, &[]));
    let v2 = |words: &[(&str, &str)]| file("io.stat").map(|of| entries(of, words)).unwrap_or_default();
    json!({
        "ioServiceBytesRecursive": v1(bytes).unwrap_or_else(|| v2(&[("rbytes", "Read"), ("wbytes", "Write")])),
        "ioServicedRecursive": v1(operations).unwrap_or_else(|| v2(&[("rios", "Read"), ("wios", "Write")])),
    })
}

/// Of `{"8:0": {"Read": 1}}`; only the operations that `words` renames, or with none, all.
fn entries(devices: &Value, words: &[(&str, &str)]) -> Vec<Value> {
    let devices = devices.as_object().into_iter().flatten();
    let devices = devices.filter_map(|(device, counts)| Some((device.split_once(':')?, counts.as_object()?)));
    let entry = |(major, minor): (&str, &str), operation: &str, value: &Value| {
        let (major, minor) = (major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?);
        Some(json!({"major": major, "minor": minor, "op": operation, "value": value}))
    };
    let of_device = |(device, counts): ((&str, &str), &Map<String, Value>)| -> Vec<Value> {
        let all =
            counts.iter().filter_map(|(name, value)| match words.iter().find(|(word, _)| word == name) {
                Some((_, operation)) => entry(device, operation, value),
                None => words.is_empty().then(|| entry(device, name, value)).flatten(),
            });
        all.collect()
    };
    devices.flat_map(of_device).collect()
}

/// proc_pid_net(5), net/dev: two lines of heading; after the name eight numbers received, eight sent.
fn interfaces(devices: &str) -> Vec<Value> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().flat_map(str::parse).collect();
        let (received, sent) = (numbers.get(0..4)?, numbers.get(8..12)?);
        Some(json!({
            "Name": name.trim(),
            "RxBytes": received[0], "RxPackets": received[1], "RxErrors": received[2], "RxDropped": received[3],
            "TxBytes": sent[0], "TxPackets": sent[1], "TxErrors": sent[2], "TxDropped": sent[3],
        }))
    };
    devices.lines().skip(2).filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str =
        "Inter-|   Receive  |  Transmit\n face |bytes |bytes\n    lo:  10 1 0 0 0 0 0 0  20 2 0 3 0 0 0 0\n";

    #[test]
    fn figures_are_where_engines_look() {
        let figures = json!({"memory": {"current": 4096, "peak": 8192}, "cpu": {"usageUsec": 7}, "pids": {"current": 2},
            "files": {"cpuacct.usage_percpu": "3000 4000", "cpuacct.usage_sys": 5, "memory.stat": {"cache": 9},
                "cpu.stat": {"nr_periods": 6, "throttled_time": 8},
                "blkio.throttle.io_service_bytes": {"8:16": {"Read": 1}, "Total": 3}}});
        let shaped = shaped(&figures, DEVICES);
        assert_eq!(
            shaped["cpu"]["usage"],
            json!({"total": 7000, "percpu": [3000, 4000], "kernel": 5, "user": 0})
        );
        assert_eq!(
            shaped["cpu"]["throttling"],
            json!({"periods": 6, "throttledPeriods": 0, "throttledTime": 8})
        );
        assert_eq!(
            shaped["memory"]["usage"],
            json!({"usage": 4096, "max": 8192, "limit": u64::MAX, "failcnt": 0})
        );
        assert_eq!((&shaped["memory"]["cache"], &shaped["memory"]["raw"]), (&json!(9), &json!({"cache": 9})));
        assert_eq!(shaped["pids"], json!({"current": 2, "limit": 0}));
        assert_eq!(
            shaped["blkio"]["ioServiceBytesRecursive"],
            json!([{"major": 8, "minor": 16, "op": "Read", "value": 1}])
        );
        assert_eq!(shaped["network_interfaces"][0]["Name"], "lo");
        assert_eq!(
            (&shaped["network_interfaces"][0]["RxBytes"], &shaped["network_interfaces"][0]["TxDropped"]),
            (&json!(10), &json!(3))
        );
    }

    #[test]
    fn those_of_v2_are_in_the_same_places() {
        let figures = json!({"files": {"cpu.stat": {"user_usec": 2, "system_usec": 3, "throttled_usec": 4},
            "memory.stat": {"file": 5}, "io.stat": {"8:0": {"rbytes": 1, "wbytes": 2, "rios": 3}}}});
        let shaped = shaped(&figures, "");
        assert_eq!(shaped["cpu"]["usage"], json!({"total": 0, "percpu": [], "kernel": 3000, "user": 2000}));
        assert_eq!(shaped["cpu"]["throttling"]["throttledTime"], 4000);
        assert_eq!(shaped["memory"]["cache"], 5);
        assert_eq!(
            shaped["blkio"]["ioServiceBytesRecursive"],
            json!([{"major": 8, "minor": 0, "op": "Read", "value": 1}, {"major": 8, "minor": 0, "op": "Write", "value": 2}])
        );
        assert_eq!(shaped["blkio"]["ioServicedRecursive"][0]["value"], 3);
    }
}
