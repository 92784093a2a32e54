//! A container in docker's shape.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::network;
use crate::log;
use crate::options::Run;
use crate::record::{Record, State};
use crate::store::Store;
use crate::volumes::{self, Volumes};

/// docker's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub fn container(store: &Store, volumes: &Volumes, record: &Record) -> Result<Value> {
    let options = Run::read(record.options.as_deref())?;
    let document: Value =
        record.document.as_ref().map(|raw| serde_json::from_str(raw.get())).transpose()?.unwrap_or_default();
    let (path, arguments) = record.command.split_first().map_or(("", &[][..]), |(path, rest)| (path, rest));
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": arguments,
        "State": state(record),
        "Image": record.image_id,
        "LogPath": log::path(store, &record.id),
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(&options, record, &document),
        "GraphDriver": {"Name": "overlay2", "Data": {
            "UpperDir": document["rootfs"]["upper"],
            "WorkDir": document["rootfs"]["work"],
            "MergedDir": document["rootfs"]["path"],
        }},
        "Mounts": mounts(&options, volumes),
        "Config": config(&options, record, &document["image"]["spec"]["config"]),
        "NetworkSettings": network::settings(record),
    }))
}

fn state(record: &Record) -> Value {
    let state = record.state();
    let end = record.end.as_ref();
    let pid = record.process.as_ref().filter(|_| record.is_alive()).map_or(0, |process| process.pid);
    json!({
        "Status": crate::ps::state(record),
        "Running": record.is_alive(),
        "Paused": state == State::Paused,
        "Restarting": false,
        "OOMKilled": end.is_some_and(|end| end.oom_killed),
        "Dead": state == State::Broken,
        "Pid": pid,
        "ExitCode": end.map_or(0, |end| end.exit_code),
        "Error": end.map(|end| end.error.clone()).unwrap_or_default(),
        "StartedAt": record.started.as_deref().unwrap_or(NEVER),
        "FinishedAt": end.map_or(NEVER, |end| &end.finished),
    })
}

fn config(options: &Run, record: &Record, image: &Value) -> Value {
    let or_image = |typed: Option<&String>, key: &str| {
        typed.cloned().map_or_else(|| image[key].as_str().unwrap_or_default().into(), Value::from)
    };
    let env = env(&options.process.env, &image["Env"]);
    let labels: Map<String, Value> = record
        .labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let entrypoint =
        options.entrypoint.as_ref().map_or_else(|| image["Entrypoint"].clone(), |word| json!([word]));
    let command = match options.image.command() {
        [] if options.entrypoint.is_none() => image["Cmd"].clone(),
        [] => Value::Null,
        words => json!(words),
    };
    json!({
        "Hostname": options.hostname.as_deref().unwrap_or(record.id.short()),
        "Domainname": "",
        "User": or_image(options.process.user.as_ref(), "User"),
        "AttachStdin": !options.detach && options.process.interactive,
        "AttachStdout": !options.detach,
        "AttachStderr": !options.detach,
        "ExposedPorts": image["ExposedPorts"],
        "Tty": options.process.tty,
        "OpenStdin": options.process.interactive,
        "StdinOnce": !options.detach && options.process.interactive,
        "Env": env,
        "Cmd": command,
        "Image": record.image,
        "Volumes": image["Volumes"],
        "WorkingDir": or_image(options.process.workdir.as_ref(), "WorkingDir"),
        "Entrypoint": entrypoint,
        "Labels": labels,
        "StopSignal": options.detachment.stop_signal.as_ref().or(record.stop_signal.as_ref()),
        "StopTimeout": options.detachment.stop_timeout,
    })
}

/// What was typed, then what the image has besides.
fn env(typed: &[String], image: &Value) -> Vec<Value> {
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let typed: Vec<&String> = typed.iter().filter(|word| word.contains('=')).collect();
    let of_image = image.as_array().into_iter().flatten().filter_map(Value::as_str);
    let of_image = of_image.filter(|word| typed.iter().all(|other| name(other) != name(word)));
    typed.iter().map(|word| word.as_str()).chain(of_image).map(Value::from).collect()
}

fn host_config(options: &Run, record: &Record, document: &Value) -> Value {
    let resources = &document["cgroup"]["resources"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let nano = match (resources["cpu"]["quota"].as_i64(), resources["cpu"]["period"].as_i64()) {
        (Some(quota), Some(period)) if period > 0 => quota.saturating_mul(1_000_000_000) / period,
        _ => 0,
    };
    json!({
        "Binds": binds(options, record),
        "ContainerIDFile": options.cidfile.as_deref().unwrap_or_default(),
        "LogConfig": {"Type": "json-file", "Config": {
            "max-size": record.log.max_size.to_string(), "max-file": record.log.max_file.to_string()}},
        "NetworkMode": record.network.to_string(),
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": options.rm,
        "ExtraHosts": options.network.add_host,
        "Dns": options.network.dns,
        "DnsOptions": options.network.dns_option,
        "DnsSearch": options.network.dns_search,
        "Init": options.init,
        "ReadonlyRootfs": options.read_only,
        "Privileged": options.isolation.privileged,
        "CapAdd": options.isolation.cap_add,
        "CapDrop": options.isolation.cap_drop,
        "SecurityOpt": options.isolation.security_opt,
        "Sysctls": options.isolation.sysctl,
        "PortBindings": network::bindings(record),
        "Memory": number(&resources["memory"]["limit"]),
        "MemorySwap": number(&resources["memory"]["swap"]),
        "NanoCpus": nano,
        "CpuShares": number(&resources["cpu"]["shares"]),
        "PidsLimit": resources["pids"]["limit"],
        "CgroupParent": document["cgroup"]["cgroupsPath"],
    })
}

/// Those that were typed with a source.
fn binds<'a>(options: &'a Run, record: &Record) -> Vec<&'a String> {
    let is_nameless = |volume: &str| record.anonymous.iter().any(|name| volume.starts_with(name.as_str()));
    options.volume.iter().filter(|volume| !is_nameless(volume)).collect()
}

/// Binds and volumes.
fn mounts(options: &Run, volumes: &Volumes) -> Vec<Value> {
    let one = |volume: &String| {
        let mut parts = volume.splitn(3, ':');
        let (source, destination) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mode = parts.next().unwrap_or_default();
        if let Some((name, _, _)) = volumes::named(volume) {
            return json!({"Type": "volume", "Name": name, "Source": volumes.data(name), "Destination": destination,
                "Driver": "local", "Mode": mode, "RW": !mode.split(',').any(|word| word == "ro"), "Propagation": ""});
        }
        let writable = !mode.split(',').any(|word| word == "ro");
        json!({"Type": "bind", "Source": source, "Destination": destination, "Mode": mode, "RW": writable,
            "Propagation": "rprivate"})
    };
    options.volumes().iter().map(one).collect()
}
