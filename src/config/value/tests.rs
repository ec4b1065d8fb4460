use super::*;

#[test]
fn sizes_need_a_unit_and_print_exactly() {
    for (text, bytes, shown) in [
        ("0B", 0, "0B"),
        ("48000000B", 48_000_000, "48MB"),
        ("64MiB", 64 << 20, "64MiB"),
        ("1536KiB", 1536 << 10, "1536KiB"),
        ("2 GB", 2_000_000_000, "2GB"),
        ("1.5GiB", 3 << 29, "1536MiB"),
        ("1023B", 1023, "1023B"),
    ] {
        let size: ByteSize = text.parse().expect("a size");
        assert_eq!(
            (size.as_u64(), size.to_string().as_str()),
            (bytes, shown),
            "{text}"
        );
    }
    for text in [
        "",
        "1",
        "MiB",
        "-1MiB",
        "1 parsec",
        "nanB",
        "infB",
        "1e3B",
        "99999999999999TiB",
        "0x10B",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for (text, host, port) in [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:27016", "::1", 27016),
        ("my_service.local:65535", "my_service.local", 65535),
    ] {
        let address: HostPort = text.parse().expect("an address");
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }
    for text in [
        "",
        "host",
        ":1",
        "host:",
        "host:65536",
        "host:+1",
        "::1:27016",
        "[::1]",
        "[x]:1",
        "a b:1",
        "a/b:1",
    ] {
        assert!(text.parse::<HostPort>().is_err(), "{text}");
    }
    for (text, loopback) in [
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("LocalHost:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("localhost.example.org:1", false),
    ] {
        assert_eq!(
            text.parse::<HostPort>().expect("an address").is_loopback(),
            loopback,
            "{text}"
        );
    }
}
