// Every complaint, word by word. Each case adds lines to a file without mistakes and tells what is said about them.

import Bytes
import HostInterface
import TestSupport
import Testing

@testable import AgentConfiguration

@Suite struct DiagnosticTests {
  /// Complaints about the base file with `lines` behind it; these begin at line 12.
  private func expect(
    _ lines: String, _ expected: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let found = try complaints(base + lines)
    #expect(found == expected, sourceLocation: sourceLocation)
  }

  @Test func theBaseIsWithoutMistakes() throws {
    try expect("")
  }

  // MARK: Lines

  @Test func linesThatAreNothing() throws {
    try expect("word", #"f:12:1: error: found a line without "="; expected key = value, a [section] or a # comment"#)
    try expect(" = x", #"f:12:2: error: found nothing before "="; expected key = value"#)
    try expect("[server", #"f:12:1: error: found a heading without "]"; expected [section]"#)
    try expect("[]", "f:12:1: error: found an empty heading; expected [section]")
    // The section is open all the same; one that nobody can know is skipped.
    try expect(
      "[mqtt] # x\nkeep-alive = 5s",
      "f:12:8: error: found text behind the heading; expected nothing, not even a comment")
    try expect("[\nwhatever = 1", "f:12:1: error: found a heading without \"]\"; expected [section]")
    try expect("# \u{1}", "f:12:3: warning: found a byte in a comment that is not UTF-8 text")
    try expect("[mqtt]\na=\0", "f:13:3: error: found a control character; expected UTF-8 text")
    let long = String(repeating: "x", count: 3000)
    try expect(long, "f:12:2049: error: found a longer line; expected at most 2048 bytes")
    var latin1 = Input(base)
    latin1.text += [0x61, 0x3D, 0xE9]
    #expect(try complaints(latin1) == ["f:12:3: error: found a byte that is not UTF-8; expected UTF-8 text"])
    for isLittle in [true, false] {
      for mark in ["", "\u{FEFF}"] {
        var wide = Input("")
        wide.text = (mark + base).utf16.flatMap { unit in
          let bytes = [UInt8(unit >> 8), UInt8(unit & 0xFF)]
          return isLittle ? bytes.reversed() : bytes
        }
        #expect(
          try complaints(wide).filter { $0.contains("error") } == [
            "f:1:1: error: found text in UTF-16; expected UTF-8: save the file in that form"
          ])
      }
    }
  }

  // MARK: Sections and keys

  @Test func unknownSections() throws {
    let sections =
      "[device], [server], [mqtt], [agent], [management], [firmware], [watchdog], [queue], [event NAME], "
      + "[sensor NAME], [output NAME], [command NAME] or [action BUNDLE/ACTION]"
    try expect(
      "[sever]", #"f:12:2: error: found unknown section "sever"; expected \#(sections); did you mean "server"?"#)
    try expect("[xyz]\nwhatever = 1", #"f:12:2: error: found unknown section "xyz"; expected \#(sections)"#)
  }

  @Test func deviceManagement() throws {
    try expect(
      "[management]\nfactory-reset = yes",
      #"f:13:17: error: factory-reset: found "yes"; expected the absolute path of a program, or no"#)
    try expect(
      "[management]\nreboot = reboot",
      #"f:13:10: error: reboot: found "reboot"; expected an absolute path, as in /etc/mote/file"#)
    let long = String(repeating: "x", count: 129)
    try expect(
      "[management]\nmodel = \(long)",
      "f:13:9: error: model: found \"\(long.prefix(60))…\"; expected text of at most 128 bytes")
    try expect("[management]\nreboot = no\nfactory-reset = off\nmodel = \(long.dropFirst())")
  }

  @Test func firmware() throws {
    try expect(
      "[firmware]\ninstaller = agnt\nkey-file = /k\ncompatible = c\n[management]",
      #"f:13:13: error: installer: found "agnt"; expected agent, command or partition; did you mean "agent"?"#)
    try expect(
      "[management]\n[firmware]\ncompatible = a b\nkey-file = /k",
      #"f:14:14: error: compatible: found "a b"; expected 1 to 64 printable characters without blanks"#)
    try expect(
      "[firmware]\nkey-file = /k\ncompatible = c",
      "f:12:2: error: [firmware]: lifetime is missing; expected a [management]")
    try expect(
      "[management]\n[firmware]\ncompatible = c",
      "f:13:2: error: [firmware]: key-file is missing; expected a file of public keys")
    try expect(
      "[management]\n[firmware]\ninstaller = command\nkey-file = /k\nrun = /x",
      "f:13:2: error: [firmware]: compatible is missing; expected what images are made for")
    try expect(
      "[management]\n[firmware]\ninstaller = command",
      "f:13:2: error: [firmware]: run is missing; expected the path of a program")
    try expect("[management]\n[firmware]\ninstaller = command\nrun = /x")
  }

  @Test func filters() throws {
    let sensor = "[event e]\n[sensor s]\nevent = e\nread = file:/x\n"
    try expect(
      sensor + "filter = scale 2, medain 5",
      #"f:16:10: error: filter: found "medain 5"; expected scale, offset, calibrate, median, average, clamp, round, "#
        + #"delta, rate or debounce; did you mean "median"?"#)
    for (text, found, form) in [
      ("scale", "scale", "scale FACTOR"), ("offset 1 2", "offset 1 2", "offset NUMBER"),
      ("calibrate 1 2 1 3", "calibrate 1 2 1 3", "calibrate X Y X Y ... of 2 to 8 points, X rising"),
      ("calibrate 1 2", "calibrate 1 2", "calibrate X Y X Y ... of 2 to 8 points, X rising"),
      ("calibrate 1 2 3", "calibrate 1 2 3", "calibrate X Y X Y ... of 2 to 8 points, X rising"),
      ("delta, median 4", "median 4", "median COUNT, odd, 3 to 15"),
      ("median 17", "median 17", "median COUNT, odd, 3 to 15"),
      ("average 1", "average 1", "average COUNT, 2 to 16"), ("clamp 2 1", "clamp 2 1", "clamp LOW HIGH"),
      ("round 19", "round 19", "round DIGITS, 0 to 18"), ("delta 1", "delta 1", "delta"),
      ("rate 1", "rate 1", "rate TIME [BITS [MAX]], 1ms to 1d, 8 to 62"),
      ("rate 1s 64", "rate 1s 64", "rate TIME [BITS [MAX]], 1ms to 1d, 8 to 62"),
      ("debounce 2d", "debounce 2d", "debounce TIME, 1ms to 1d"),
    ] {
      try expect(
        sensor + "filter = \(text)", "f:16:10: error: filter: found \"\(found)\"; expected \(form)")
    }
    try expect(
      sensor + "filter = " + Array(repeating: "delta", count: 9).joined(separator: ","),
      "f:16:10: error: filter: found one more filter; expected at most 8")
    try expect(sensor + "filter = calibrate 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16, round 0")
    try expect(
      sensor + "type = text\nfilter = delta",
      #"f:17:10: error: filter: found "delta"; expected debounce with type = boolean, and no filter with type = text"#)
    try expect(sensor + "type = boolean\nfilter = debounce 500ms")
  }

  @Test func deadbands() throws {
    let sensor = "[event e]\n[sensor s]\nevent = e\nread = file:/x\n"
    for text in ["", "x", "-1", "1 2", "1% 2%", "1 2% 3", "%", "1 %"] {
      try expect(
        sensor + "deadband = \(text)",
        "f:16:\(text.isEmpty ? 11 : 12): error: deadband: found \"\(text)\"; "
          + "expected a number from 0 on, per cent as in 2%, or both, for no text")
    }
    for text in ["0", "0.5", "2%", "2.5% 0.1", "0.1 2.5%"] { try expect(sensor + "deadband = \(text)") }
    try expect(
      "[event e]\nheartbeat = 1m\n[sensor s]\nevent = e\nread = file:/x",
      "f:13:13: warning: heartbeat: has no effect, as no sensor of this event has a deadband")
  }

  @Test func partitions() throws {
    let firmware = "[firmware]\ninstaller = partition\nrun = /x\nkey-file = /k\ncompatible = c\n"
    let whole = "[management]\nreboot = yes\n" + firmware
    try expect(whole + "slot-a = /dev/a\nslot-b = /dev/b")
    try expect(
      whole + "slot-a = /dev/a",
      "f:14:2: error: [firmware]: slot-b is missing; expected the path of a partition")
    try expect(
      whole + "slot-b = /dev/b",
      "f:14:2: error: [firmware]: slot-a is missing; expected the path of a partition")
    try expect(
      whole + "slot-a = /dev/a\nslot-b = /dev/a",
      #"f:20:10: error: slot-b: found "/dev/a"; expected another one than in slot-a"#)
    try expect(
      "[management]\n" + firmware + "slot-a = /a\nslot-b = /b",
      "f:13:2: error: [firmware]: reboot is missing; expected yes or a program in [management]")
  }

  @Test func aggregatesAlarmsAndAges() throws {
    let sensor = "[event e]\n[sensor s]\nevent = e\nread = file:/x\n"
    try expect(
      sensor + "aggregate = avg",
      #"f:16:13: error: aggregate: found "avg"; expected last, min, max, mean, count or sum"#)
    try expect(
      sensor + "type = boolean\naggregate = max",
      "f:17:13: error: aggregate: found for a value that is no number; expected it with type = number only")
    for text in ["80", "high", "high x", "high 1 high 2", "low 5 high 5", "hysteresis 2", "high 80 hysteresis -1"] {
      try expect(
        sensor + "alarm = \(text)",
        "f:16:9: error: alarm: found \"\(text)\"; "
          + "expected high NUMBER, low NUMBER below it, hysteresis NUMBER, for no text")
    }
    try expect(
      sensor + "stale = 60",
      #"f:16:9: error: stale: found "60"; expected a time from 1ms to 1d, in ms, s, m, h or d, for no text"#)
    for sample in ["99ms", "11s"] {
      try expect(
        "[event e]\nsample = \(sample)\n[sensor s]\nevent = e\nread = file:/x",
        "f:13:10: error: sample: found \"\(sample)\"; expected 100ms or more, and at most the interval")
    }
    for sample in ["100ms", "10s", "0"] {
      try expect("[event e]\nsample = \(sample)\n[sensor s]\nevent = e\nread = file:/x")
    }
  }

  @Test func units() throws {
    let sensor = "[event e]\nunits = yes\n[sensor s]\nevent = e\nread = file:/x\n"
    for text in ["", "12345678901234567"] {
      try expect(
        sensor + "unit = \(text)",
        "f:17:\(text.isEmpty ? 7 : 8): error: unit: found \"\(text)\"; expected 1 to 16 bytes of text")
    }
    try expect(sensor + "unit = 1234567890123456")
  }

  @Test func watchdog() throws {
    try expect("[watchdog]\ntimeout = 3s\nstop-at-end = yes")
    try expect(
      "[watchdog]\ntimeout = 2s",
      #"f:13:11: error: timeout: found "2s"; expected a time from 3s to 1h, in ms, s, m, h or d"#)
    try expect(
      "[watchdog]\ndevice = w", #"f:13:10: error: device: found "w"; expected an absolute path, as in /etc/mote/file"#)
  }

  @Test func headingsOfOtherClasses() throws {
    try expect(
      "[gateway]\nauth-key = x",
      "f:12:2: error: [gateway]: gateways are not supported yet; expected [device]",
      "f:13:12: error: auth-key: API keys belong to applications, which are not supported yet")
    try expect("[application]", "f:12:2: error: [application]: applications are not supported yet; expected [device]")
  }

  @Test func namesOfSections() throws {
    let rule = "with a name of 1 to 36 of A-Z a-z 0-9 - _ ."
    try expect("[event]", #"f:12:2: error: found name ""; expected [event NAME] \#(rule)"#)
    try expect("[sensor a b]", #"f:12:2: error: found name "a b"; expected [sensor NAME] \#(rule)"#)
    try expect("[command ä]", #"f:12:2: error: found name "ä"; expected [command NAME] \#(rule)"#)
    let long = String(repeating: "n", count: 37)
    try expect("[event \(long)]", #"f:12:2: error: found name "\#(long)"; expected [event NAME] \#(rule)"#)
    try expect(
      "[event command]",
      #"f:12:2: error: found name "command"; expected [event NAME] with another name: command reports the "#
        + #"outcome of commands"#
    )
    try expect(
      "[command ping]",
      #"f:12:2: error: found name "ping"; expected [command NAME] with another name: ping, publish and interval "#
        + #"are built in"#
    )
    let name = String(repeating: "n", count: 255)
    for action in ["", "a", "/a", "a/", "a/b/c", "a/b c", "ä/b", "deviceActions/a", "firmwareActions/b", "a/\(name)n"] {
      let shown = action.utf8.count > 60 ? String(action.prefix(60)) + "…" : action
      let found = try complaints(base + "[action \(action)]\nrun = /x\n[management]\n")
      let rule =
        "; expected [action BUNDLE/ACTION] with names of 1 to 255 of A-Z a-z 0-9 - _ ., none the platform's own"
      #expect(found == [#"f:12:2: error: found name "\#(shown)"\#(rule)"#])
    }
    #expect(try complaints(base + "[action \(name)/\(name)]\nrun = /x\n[management]\n") == [])
    try expect("[mqtt x]", #"f:12:2: error: found "x" in the heading; expected [mqtt], which has no name"#)
  }

  @Test func unknownKeys() throws {
    try expect(
      "[event fast]\nintervall = 1s\n[sensor s]\nevent=fast\nread=uptime",
      #"f:13:1: error: found unknown key "intervall" in [event]; expected interval, sample, qos, priority, queue, "#
        + #"heartbeat, min-interval, units; did you mean "interval"?"#)
    try expect(
      "[command c]\nshell = 1\nrun = /x",
      #"f:13:1: error: found unknown key "shell" in [command]; expected run, timeout"#)
    try expect(
      "[mqtt]\nPROT = 1",
      #"f:13:1: error: found unknown key "PROT" in [mqtt]; expected keep-alive, clean-session, inflight-max, "#
        + #"packet-size, queue-size, connect-delay-max, messages-per-second, retained-commands"#
    )
    try expect(
      "[server]\nprot = 8883",
      #"f:13:1: error: found unknown key "prot" in [server]; expected host, port, tls, server-name, ca-file, "#
        + #"domain, allow-plaintext-token, allow-unverified-server; did you mean "port"?"#
    )
  }

  @Test func keysOfOtherSections() throws {
    try expect("[mqtt]\nhost = x", #"f:13:1: error: found key "host" in [mqtt]; expected it in [server]"#)
    try expect(
      "[server]\nkeep-alive = 1s", #"f:13:1: error: found key "keep-alive" in [server]; expected it in [mqtt]"#)
    try expect("[agent]\nqos = 1", #"f:13:1: error: found key "qos" in [agent]; expected it in [event NAME]"#)
    try expect("[mqtt]\norg = x", #"f:13:1: error: found key "org" in [mqtt]; expected it in [device]"#)
    try expect("[server]\ntype = x", #"f:13:1: error: found key "type" in [server]; expected it in [device]"#)
  }

  @Test func thingsSaidTwice() throws {
    try expect("[device]", "f:12:2: error: found [device] again; expected it once, as at f:1:2")
    try expect("[event status]", "f:12:2: error: found [event status] again; expected it once, as at f:5:2")
    try expect("[mqtt]\n[MQTT]", "f:13:2: error: found [mqtt] again; expected it once, as at f:12:2")
    try expect(
      "[server]\nport = 1\nport = 2", "f:14:1: error: port: found again; expected it once, as at f:13:8")
    // Another spelling and another section are the same key all the same.
    try expect(
      "[mqtt]\nkeep-alive = 5s\nkeepAlive = 6", "f:14:1: error: keepAlive: found again; expected it once, as at f:13:14"
    )
  }

  @Test func nameIsSaidOncePerSectionOnly() throws {
    try expect("[event other]\ninterval = 20s\nqos = 0\n[sensor x]\nevent = other\nread = uptime")
  }

  // MARK: Values

  @Test func identity() throws {
    func identity(_ org: String, _ type: String, _ id: String) throws -> [String] {
      try complaints("org=\(org)\ntype=\(type)\nid=\(id)\nauth-token=x\n[event e]\n[sensor s]\nevent=e\nread=uptime")
    }
    #expect(
      try identity("AB12CD", "a b", "") == [
        #"f:1:5: error: org: found "AB12CD"; expected six lower-case letters and digits, or quickstart"#,
        #"f:2:6: error: type: found "a b"; expected 1 to 36 of A-Z a-z 0-9 - _ ."#,
        #"f:3:4: error: id: found ""; expected 1 to 36 of A-Z a-z 0-9 - _ ."#,
      ])
    let long = String(repeating: "x", count: 100)
    #expect(
      try identity("abcdefg", long, "a/b") == [
        #"f:1:5: error: org: found "abcdefg"; expected six lower-case letters and digits, or quickstart"#,
        #"f:2:6: error: type: found "\#(String(repeating: "x", count: 60))…"; expected 1 to 36 of A-Z a-z 0-9 - _ ."#,
        #"f:3:4: error: id: found "a/b"; expected 1 to 36 of A-Z a-z 0-9 - _ ."#,
      ])
    var empty = Input("[event e]\n[sensor s]\nevent=e\nread=uptime")
    empty.defaultID = ""
    #expect(
      try complaints(empty) == [
        "f: error: org is missing; expected six lower-case letters and digits, or quickstart, in [device]",
        "f: error: type is missing; expected the device's type in [device]",
        "f: error: id is missing; expected id = NAME in [device], as no network device has a permanent address",
        "f: error: auth-token is missing; expected auth-token-file or auth-token in [device], or WIOTP_AUTH_TOKEN",
      ])
  }

  @Test func authentication() throws {
    let rest = "\n[event e]\n[sensor s]\nevent=e\nread=uptime"
    func device(_ lines: String) throws -> [String] { try complaints("org=ab12cd\ntype=t\n" + lines + rest) }
    #expect(try device("auth-method=token\nauth-token=x") == [])
    #expect(
      try device("auth-method=apikey\nauth-token=x") == [
        #"f:3:13: error: auth-method: found "apikey"; expected token, as applications are not supported yet"#
      ])
    #expect(
      try device("auth-method=cert\nauth-token=x") == [#"f:3:13: error: auth-method: found "cert"; expected token"#])
    #expect(
      try device("auth-token=x\nauth-token-file=/t") == [
        "f:4:17: error: auth-token-file: found besides auth-token at f:3:12; expected one of them"
      ])
    #expect(
      try device("auth-token-file=token.txt") == [
        "f:3:17: error: auth-token-file: found something else; expected an absolute path, as in /etc/mote/file"
      ])
    #expect(try device("auth-token=") == ["f:3:12: error: auth-token: found 0 bytes; expected a token of 1 to 512"])
    #expect(
      try device("auth-token=\(String(repeating: "x", count: 513))") == [
        "f:3:12: error: auth-token: found 513 bytes; expected a token of 1 to 512"
      ])
    #expect(
      try device(#"auth-token="x""#) == [
        "f:3:12: warning: auth-token: the token has quotes, blanks or other bytes that no token has, and is sent with "
          + "them"
      ])
  }

  @Test func tokenFiles() throws {
    var input = Input("org=ab12cd\ntype=t\nauth-token-file=/t\n[event e]\n[sensor s]\nevent=e\nread=uptime")
    #expect(try complaints(input) == ["f:3:17: error: auth-token-file: the file cannot be read: there is no such file"])
    input.tokenFile = "\n"
    #expect(
      try complaints(input) == ["f:3:17: error: auth-token-file: the file has 0 bytes; expected a token of 1 to 512"])
    input.tokenFile = String(repeating: "x", count: 513)
    #expect(
      try complaints(input) == ["f:3:17: error: auth-token-file: the file has 513 bytes; expected a token of 1 to 512"])
    for token in ["\"s3cret\"", " s3cret", "s3cret ", "'s3cret'", "s\0003\0", "s3cret\n\n", "s3crét"] {
      input.tokenFile = token
      #expect(
        try complaints(input) == [
          "f:3:17: warning: auth-token-file: the token has quotes, blanks or other bytes that no token has, and is "
            + "sent with them"
        ])
    }
    input.tokenFile = "\u{FEFF}s3cret!#=;\r\n"
    #expect(try complaints(input) == [])
    input.tokenFile = "s3cret"
    input.tokenIsReadableByOthers = true
    #expect(
      try complaints(input) == [
        "f:3:17: warning: auth-token-file: the file can be read by other users; expected mode 0600 or 0640"
      ])
    var inline = Input(base)
    inline.isReadableByOthers = true
    #expect(
      try complaints(inline) == [
        "f:4:14: warning: auth-token: the file can be read by other users; expected mode 0600 or 0640, or "
          + "auth-token-file"
      ])
  }

  @Test func server() throws {
    try expect(
      "[server]\nport = 70000", #"f:13:8: error: port: found "70000"; expected a whole number from 1 to 65535"#)
    try expect("[server]\nport = ", #"f:13:7: error: port: found ""; expected a whole number from 1 to 65535"#)
    try expect("[server]\ntls = maybe", #"f:13:7: error: tls: found "maybe"; expected yes or no"#)
    let host = "expected a host name or an address, without scheme and port"
    try expect("[server]\nhost = a:1883", #"f:13:8: error: host: found "a:1883"; \#(host)"#)
    try expect("[server]\nhost = tcp://a", #"f:13:8: error: host: found "tcp://a"; \#(host)"#)
    try expect("[server]\nserver-name = a b", #"f:13:15: error: server-name: found "a b"; \#(host)"#)
    try expect("[server]\ndomain = a b", #"f:13:10: error: domain: found "a b"; \#(host)"#)
    let domain = String(repeating: "d", count: 250)
    try expect(
      "[server]\ndomain = \(domain)",
      #"f:13:10: error: domain: found "\#(String(repeating: "d", count: 60))…"; expected a shorter domain: the "#
        + #"host name has more than 253 characters"#
    )
    try expect(
      "[server]\nca-file = ca.pem",
      #"f:13:11: error: ca-file: found "ca.pem"; expected an absolute path, as in /etc/mote/file"#)
  }

  @Test func serverTogether() throws {
    try expect(
      "[server]\nport = 1883",
      #"f:13:8: error: port: found "1883", where servers speak no TLS; expected tls = no or tls = yes in "#
        + #"[server] besides it"#
    )
    try expect("[server]\nport = 1883\ntls = yes")
    try expect(
      "[server]\nhost = 127.0.0.1\ntls = no",
      #"f:14:7: error: tls: found "no" with a token; expected yes, or allow-plaintext-token = yes in [server] "#
        + #"to send it in the clear"#
    )
    try expect("[server]\ntls = no\nallow-plaintext-token = yes")
    try expect(
      "[server]\nport = 8883\ntls = no\nallow-plaintext-token = yes",
      #"f:14:7: warning: tls: found "no" with port 8883, where servers speak TLS; expected tls = yes, or another port"#)
    try expect(
      "[server]\ntls = no\nallow-plaintext-token = yes\nca-file = /x\nserver-name = y\nallow-unverified-server = yes",
      "f:15:11: warning: ca-file: has no effect without TLS",
      "f:16:15: warning: server-name: has no effect without TLS",
      "f:17:27: warning: allow-unverified-server: has no effect without TLS")
  }

  @Test func mqtt() throws {
    let keepAlive = "expected a time from 1s to 18h12m15s, or 0, in ms, s, m, h or d"
    try expect("[mqtt]\nkeep-alive = 60", #"f:13:14: error: keep-alive: found "60" without a unit; \#(keepAlive)"#)
    try expect("[mqtt]\nkeep-alive = 1d", #"f:13:14: error: keep-alive: found "1d"; \#(keepAlive)"#)
    try expect("[mqtt]\nkeepAlive = 65536", #"f:13:13: error: keepAlive: found "65536"; \#(keepAlive)"#)
    try expect("[mqtt]\nkeepAlive = 60")
    try expect(
      "[mqtt]\nkeep-alive = 0",
      #"f:13:14: warning: keep-alive: found "0": a dead connection goes unnoticed for long; expected 1s to 1h"#)
    try expect(
      "[mqtt]\nkeep-alive = 61m",
      #"f:13:14: warning: keep-alive: found "61m": networks drop idle connections earlier; expected 1s to 1h"#)
    try expect(
      "[mqtt]\npacket-size = 8192",
      #"f:13:15: error: packet-size: found "8192" without a unit; expected a size from 1KB to 129KB, in B, KB or MB"#)
    try expect(
      "[mqtt]\nqueue-size = 2MB",
      #"f:13:14: error: queue-size: found "2MB"; expected a size from 1KB to 1MB, in B, KB or MB"#)
    try expect(
      "[mqtt]\ninflight-max = 101", #"f:13:16: error: inflight-max: found "101"; expected a whole number from 1 to 100"#
    )
    try expect(
      "[mqtt]\ninflight-max = 11",
      #"f:13:16: warning: inflight-max: found "11"; expected at most 10, as the platform takes no more "#
        + #"unacknowledged from a device"#
    )
    try expect(
      "[mqtt]\nconnect-delay-max = 2h",
      #"f:13:21: error: connect-delay-max: found "2h"; expected a time from 0s to 1h, or 0, in ms, s, m, h or d"#)
    try expect(
      "[mqtt]\nmessages-per-second = -1",
      #"f:13:23: error: messages-per-second: found "-1"; expected a whole number from 0 to 1000"#)
    try expect("[mqtt]\nclean-session = jo", #"f:13:17: error: clean-session: found "jo"; expected yes or no"#)
  }

  @Test func agent() throws {
    try expect(
      "[agent]\nlog-level = inof",
      #"f:13:13: error: log-level: found "inof"; expected error, warning, info or debug; did you mean "info"?"#)
    try expect(
      "[agent]\nlog-level = 7", #"f:13:13: error: log-level: found "7"; expected error, warning, info or debug"#)
    try expect(
      "[agent]\nsource-timeout = 1ms",
      #"f:13:18: error: source-timeout: found "1ms"; expected a time from 100ms to 1m, in ms, s, m, h or d"#)
  }

  // MARK: Events, sensors, commands

  @Test func events() throws {
    let sensor = "\n[sensor s]\nevent = e\nread = uptime"
    let interval = "expected a time from 100ms to 7d, in ms, s, m, h or d"
    try expect("[event e]\ninterval = 50ms" + sensor, #"f:13:12: error: interval: found "50ms"; \#(interval)"#)
    try expect("[event e]\ninterval = soon" + sensor, #"f:13:12: error: interval: found "soon"; \#(interval)"#)
    try expect("[event e]\nqos = 3" + sensor, #"f:13:7: error: qos: found "3"; expected a whole number from 0 to 2"#)
    try expect(
      "[event e]\nqos = 2" + sensor,
      #"f:13:7: warning: qos: found "2" with clean-session = yes: after a lost connection an event may arrive twice"#)
    try expect("[event e]\nqos = 2" + sensor + "\n[mqtt]\nclean-session = no")
    try expect("[event e]", "f:12:2: warning: [event e]: found no sensor with event = e")
    try expect(
      "[event e]\ninterval = 100ms" + sensor,
      "f:13:12: warning: interval: found 11 messages a second of all events together; expected at most 10")
    #expect(
      try complaints("org=ab12cd\ntype=t\nauth-token=x") == [
        "f: warning: found no [event NAME]: nothing is published but the outcome of commands"
      ])
  }

  @Test func eventsThatAreTooLarge() throws {
    var sensors = ""
    for index in 0..<31 { sensors += "[sensor s\(index)]\nevent=e\nread=file:/x\ntype=text\n" }
    try expect(
      "[event e]\nqos=1\n" + sensors,
      "f:12:2: error: [event e]: found sensors that may need 8311 bytes; expected at most packet-size in "
        + "[mqtt], which is 8KB"
    )
    try expect("[event e]\nqos=1\n" + sensors + "[mqtt]\npacket-size = 16KB")
    try expect(
      "[event e]\nqos=1\n" + sensors + "[mqtt]\npacket-size = 16KB\nqueue-size = 4KB",
      "f:12:2: error: [event e]: found sensors that may need 8311 bytes; expected at most queue-size in [mqtt], "
        + "which is 4KB"
    )
  }

  @Test func sensors() throws {
    try expect(
      "[sensor s]", "f:12:2: error: [sensor s]: event is missing; expected the name of an [event NAME]",
      "f:12:2: error: [sensor s]: read is missing; expected KIND:ARGUMENT, as in loadavg:1")
    let start = "[sensor s]\nread = constant:1\n"
    try expect(
      start + "event = statsu",
      #"f:14:9: error: event: found "statsu"; expected the name of an [event NAME]; did you mean "status"?"#)
    try expect(start + "event = other", #"f:14:9: error: event: found "other"; expected the name of an [event NAME]"#)
    let number = "expected a decimal number, as in 0.001 or -12"
    try expect(start + "event = status\nscale = x", #"f:15:9: error: scale: found "x"; \#(number)"#)
    try expect(start + "event = status\noffset = 1,5", #"f:15:10: error: offset: found "1,5"; \#(number)"#)
    try expect(
      start + "event = status\ndecimals = 19",
      #"f:15:12: error: decimals: found "19"; expected a whole number from 0 to 18"#)
    try expect(
      start + "event = status\ntype = bool",
      #"f:15:8: error: type: found "bool"; expected number, text or boolean"#)
    try expect(
      start + "event = status\ntype = bolean",
      #"f:15:8: error: type: found "bolean"; expected number, text or boolean; did you mean "boolean"?"#)
    try expect(start + "event = status\nfield = ", #"f:15:8: error: field: found ""; expected a name of 1 to 64 bytes"#)
    let onlyNumbers = "found for a value that is no number; expected it with type = number only"
    try expect(
      start + "event = status\ntype = text\nscale = 2\noffset = 1\ndecimals = 1",
      "f:16:9: error: scale: \(onlyNumbers)", "f:17:10: error: offset: \(onlyNumbers)",
      "f:18:12: error: decimals: \(onlyNumbers)")
    try expect(
      "[sensor s]\nread = uptime\nevent = status\nfield = x\ntype = text",
      "f:15:9: error: field: found for a source that has no fields; expected it with read = file: only",
      #"f:16:8: error: type: found "text"; expected number, as this source gives nothing else"#)
    try expect(
      "[sensor s]\nread = constant:hello\nevent = status",
      #"f:13:8: error: read: found "constant:hello"; expected a number behind constant:, or type = text"#)
    try expect("[sensor s]\nread = constant:hello\nevent = status\ntype = text")
    try expect("[sensor s]\nread = constant:about 21.5 degrees\nevent = status")
  }

  @Test func outputs() throws {
    try expect("[output o]\nwrite = gpio:A/1 active-low\n[output p]\nwrite = led:a:b:c\nmax = 255\nsafe = 255")
    let places = "expected gpio:LINE or gpio:CHIP/NUMBER, also with active-low, led:NAME, or file:PATH below /sys"
    for place in ["gpio:", "gpio:A count", "gpio:A bias=off", "led:", "led:..", "led:a/b", "file:/etc/passwd", "A"] {
      try expect("[output o]\nwrite = \(place)", "f:13:9: error: write: found \"\(place)\"; \(places)")
    }
    try expect(
      "[output o]\nwrite = gpio:A\nmax = 2", #"f:14:7: error: max: found "2"; expected 1, as a line has no more"#)
    try expect(
      "[output o]\nwrite = led:a\nsafe = 2", #"f:14:8: error: safe: found "2"; expected at most max"#)
    let names = "expected command = NAME, 1 to 36 of A-Z a-z 0-9 - _ ., that no other command has"
    try expect("[output o]\nwrite = led:a\ncommand = ping", #"f:14:11: error: found command "ping"; \#(names)"#)
    try expect("[command o]\nrun = /x\n[output o]\nwrite = led:a", #"f:14:2: error: found command "o"; \#(names)"#)
  }

  @Test(arguments: [
    ("cpu", "cpu:usage"), ("cpu:load", "cpu:usage"), ("uptime:1", "uptime alone"), ("thermal:", "thermal:TYPE"),
    ("thermal:a/b", "thermal:TYPE"), ("hwmon:chip", "hwmon:CHIP/LABEL"), ("hwmon:/l", "hwmon:CHIP/LABEL"),
    ("hwmon:c/", "hwmon:CHIP/LABEL"), ("loadavg:10", "loadavg:1, loadavg:5 or loadavg:15"),
    ("file:rel", "file:PATH with an absolute path"), ("file:/", "file:PATH with an absolute path"),
    ("constant:", "constant:TEXT"),
    (
      "memory:fre",
      #"memory:FIELD with FIELD total, free, available, used, buffers, cached, swap-total, swap-free or "#
        + #"swap-used; did you mean "free"?"#
    ),
    (
      "memory:FREE",
      #"memory:FIELD with FIELD total, free, available, used, buffers, cached, swap-total, swap-free or "#
        + #"swap-used; did you mean "free"?"#
    ),
    (
      "network:eth0/rx_bytes",
      #"network:INTERFACE/COUNTER with COUNTER rx-bytes, tx-bytes, rx-packets, tx-packets, rx-errors, "#
        + #"tx-errors, rx-dropped, tx-dropped, collisions or multicast; did you mean "rx-bytes"?"#
    ),
    (
      "network:../rx-bytes",
      #"network:INTERFACE/COUNTER with COUNTER rx-bytes, tx-bytes, rx-packets, tx-packets, rx-errors, "#
        + #"tx-errors, rx-dropped, tx-dropped, collisions or multicast; did you mean "rx-bytes"?"#
    ),
    (
      "disk:data/free",
      #"disk:PATH/QUANTITY with QUANTITY free, used, total, available or percent; did you mean "free"?"#
    ),
    ("disk:/data", "disk:PATH/QUANTITY with QUANTITY free, used, total, available or percent"),
    (
      "gpio:DOOR activelow",
      "gpio:LINE or gpio:CHIP/NUMBER with active-low, bias=off|pull-up|pull-down, debounce=1us to 1000ms, or "
        + "level, count, frequency or lost"
    ),
    (
      "termal:cpu",
      #"KIND:ARGUMENT with KIND thermal, hwmon, iio, w1, cpu, loadavg, memory, uptime, network, disk, gpio, "#
        + #"modbus, file or constant; "#
        + #"did you mean "thermal"?"#
    ),
    (
      "/sys/x",
      "KIND:ARGUMENT with KIND thermal, hwmon, iio, w1, cpu, loadavg, memory, uptime, network, disk, gpio, "
        + "modbus, file or constant"
    ),
  ])
  func sources(read: String, expected: String) throws {
    try expect(
      "[sensor s]\nevent = status\nread = \(read)", #"f:14:8: error: read: found "\#(read)"; expected \#(expected)"#)
  }

  @Test(arguments: [
    "thermal:cpu-thermal", "hwmon:k10temp/Tctl", "loadavg:15", "memory:swap-used", "uptime", "network:eth0/tx-dropped",
    "disk:/free", "disk://percent", "disk:/var/lib/used", "cpu:usage", "file:/a:b c", "constant: ", "LOADAVG:1",
  ])
  func goodSources(read: String) throws {
    // A trailing blank is not part of the value, so the constant needs something behind it.
    try expect("[sensor s]\nevent = status\nread = \(read.hasSuffix(" ") ? read + "5" : read)")
  }

  @Test func commands() throws {
    try expect("[command c]", "f:12:2: error: [command c]: run is missing; expected the absolute path of a program")
    try expect(
      "[command c]\nrun = blink",
      #"f:13:7: error: run: found "blink"; expected an absolute path, as in /etc/mote/file"#)
    try expect(
      "[command c]\nrun = /bin/sh -c x",
      #"f:13:7: error: run: found "/bin/sh -c x"; expected the path of a program alone: arguments are not supported"#)
    try expect(
      "[command c]\nrun = /x\ntimeout = 2h",
      #"f:14:11: error: timeout: found "2h"; expected a time from 1s to 1h, in ms, s, m, h or d"#)
  }

  // MARK: Older files

  @Test func olderKeysWithoutCounterpart() throws {
    func old(_ lines: String) throws -> [String] {
      try complaints(
        "org=ab12cd\ntype=t\nauth-token=x\n" + lines + "\n[event e]\n[sensor s]\nevent=e\nread=uptime")
    }
    #expect(
      try old("useClientCertificates=1") == [
        "f:4:23: error: useClientCertificates: client certificates are not supported yet; expected 0"
      ])
    #expect(try old("useClientCertificates=0\nclientCertPath=/c\nclientKeyPath=/k") == [])
    #expect(
      try old("clientCertPath=/c\nCertificate-Password=p") == [
        "f:4:16: error: clientCertPath: client certificates are not supported yet",
        "f:5:22: error: Certificate-Password: client certificates are not supported yet",
      ])
    #expect(try old("WebSocket=true") == ["f:4:11: error: WebSocket: WebSocket is not supported yet; expected no"])
    #expect(
      try old("transport=websockets") == [
        #"f:4:11: error: transport: found "websockets"; expected tcp, as WebSocket is not supported yet"#
      ])
    #expect(
      try old("Automatic-Reconnect=false\nDisconnected-Buffer-Size=5000\nMessagingQoS=1") == [
        "f:4:21: warning: Automatic-Reconnect: has no effect: the agent always reconnects",
        "f:5:26: warning: Disconnected-Buffer-Size: has no effect; see queue-size in [mqtt]",
        "f:6:14: warning: MessagingQoS: has no effect; see qos in [event NAME]",
      ])
    #expect(
      try old("Gateway-Type=t\nGateway-ID=i") == [
        "f:4:14: error: Gateway-Type: gateways are not supported yet",
        "f:5:12: error: Gateway-ID: gateways are not supported yet",
      ])
    #expect(
      try old("rootCACertPath=/r\nserverCertPath=/s") == [
        "f:5:16: warning: serverCertPath: has no effect beside the root certificate's file"
      ])
  }

  // MARK: Environment and flags

  @Test func environment() throws {
    var input = Input(base)
    input.environment = [
      ("WIOTP_OPTIONS_MQTT_PORT", "x"), ("WIOTP_OPTIONS_MQTT_KEEPALIVE", "0.5"), ("WIOTP_API_KEY", "a-ab12cd-x"),
      ("WIOTP_OPTIONS_MQTT_SESSIONEXPIRY", "3600"), ("WIOTP_OPTIONS_MQTT_VALIDATESERVERCERT", "0"),
      ("WIOTP_AUTH_PRIVATEKEYPASSWORD", "p"),
    ]
    input.flags = [Flag(key: .deviceType, name: "--type", value: "a b")]
    #expect(
      try complaints(input) == [
        #"WIOTP_OPTIONS_MQTT_PORT: error: port: found "x"; expected a whole number from 1 to 65535"#,
        #"WIOTP_OPTIONS_MQTT_KEEPALIVE: error: keep-alive: found "0.5"; expected a time from 1s to 18h12m15s, "#
          + #"or 0, in ms, s, m, h or d"#,
        "WIOTP_API_KEY: warning: has no effect on a device",
        "WIOTP_OPTIONS_MQTT_SESSIONEXPIRY: warning: session-expiry: has no effect with MQTT 3.1.1",
        "WIOTP_OPTIONS_MQTT_VALIDATESERVERCERT: error: validate-server: found off; expected "
          + "allow-unverified-server = yes in [server] instead",
        "WIOTP_AUTH_PRIVATEKEYPASSWORD: error: Certificate-Password: client certificates are not supported yet",
        #"--type: error: type: found "a b"; expected 1 to 36 of A-Z a-z 0-9 - _ ."#,
      ])
  }

  @Test func aFlagGivenTwice() throws {
    var input = Input(base)
    input.flags = [
      Flag(key: .port, name: "--port", value: "1"), Flag(key: .port, name: "--port", value: "2"),
    ]
    #expect(try complaints(input) == ["--port: error: port: found again; expected it once, as at --port"])
  }

  // MARK: Quickstart

  @Test func quickstartRefusals() throws {
    let text = """
      org = quickstart
      type = t
      auth-token = x
      [server]
      tls = yes
      [mqtt]
      clean-session = no
      messages-per-second = 5
      [event fast]
      interval = 500ms
      qos = 1
      [sensor s]
      event = fast
      read = uptime
      [command c]
      run = /x
      [management]
      """
    #expect(
      try complaints(text) == [
        "f:3:14: error: auth-token: found with org = quickstart; Quickstart takes no credentials",
        #"f:5:7: warning: tls: found "yes": Quickstart is documented without TLS"#,
        "f:7:17: error: clean-session: found with org = quickstart; Quickstart has no durable sessions",
        "f:8:23: error: messages-per-second: found with org = quickstart; Quickstart takes one message a second",
        "f:10:12: error: interval: found 2 messages a second of all events together; expected at most 1, as "
          + "Quickstart takes no more",
        #"f:11:7: error: qos: found "1"; expected 0, as Quickstart takes nothing else"#,
        "f:15:2: error: [command c]: found with org = quickstart; Quickstart has no commands",
        "f:17:2: error: [management]: found with org = quickstart; Quickstart has no device management",
      ])
  }

  @Test func quickstartCountsAllEvents() throws {
    func two(_ first: String, _ second: String) throws -> [String] {
      try complaints(
        """
        org = quickstart
        type = t
        [event a]
        interval = \(first)
        [event b]
        interval = \(second)
        [sensor s]
        event = a
        read = uptime
        [sensor t]
        event = b
        read = uptime
        """)
    }
    #expect(try two("2s", "2s") == [])
    #expect(
      try two("2s", "1999ms") == [
        "f:6:12: error: interval: found 2 messages a second of all events together; expected at most 1, as "
          + "Quickstart takes no more"
      ])
  }

  // MARK: Bounds

  @Test func surplusComplaintsAreCounted() throws {
    let lines = base + String(repeating: "word\n", count: 100)
    try load(Input(lines)) { settings, loader in
      let isRefused = settings == nil
      #expect(isRefused)
      #expect(loader.diagnostics.count == ConfigurationLimits.diagnosticsMax)
      #expect(loader.diagnostics.errorCount == 100)
      #expect(loader.diagnostics.surplusCount == 36)
      var buffer = makeBuffer()
      loader.diagnostics.appendSummary(into: &buffer)
      #expect(buffer.text == "100 errors, 0 warnings (36 more not shown)")
    }
  }

  @Test func longComplaintsAreCountedToo() throws {
    // Each of these is about 250 bytes: the text runs out before the table.
    var lines = base
    for index in 0..<60 { lines += "[server\(String(repeating: "x", count: 200))\(index)]\n" }
    lines += String(repeating: "[mqtt]\n\(String(repeating: "k", count: 100)) = 1\n", count: 40)
    try load(Input(lines)) { settings, loader in
      let isRefused = settings == nil
      #expect(isRefused)
      let shown = loader.diagnostics.count
      #expect(loader.diagnostics.surplusCount == loader.diagnostics.errorCount - shown)
      #expect(shown <= ConfigurationLimits.diagnosticsMax)
    }
  }

  @Test func oneMistakeIsOneError() throws {
    try load(Input(base + "word")) { _, loader in
      var buffer = makeBuffer()
      loader.diagnostics.appendSummary(into: &buffer)
      #expect(buffer.text == "1 error, 0 warnings")
      #expect(loader.diagnostics.severity(at: 0) == .error)
    }
  }

  @Test func largeFilesAreRefused() throws {
    let large = String(repeating: "#", count: ConfigurationLimits.fileBytesMax + 1)
    #expect(try complaints(large) == ["f: error: found 65537B; expected at most 64KB"])
  }

  @Test func moreTextThanFits() throws {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    loader.load(Array(text: base).span, name: "f".bytesOfLiteral.span)
    for part in 0..<3 {
      var lines = ""
      for index in 0..<15 {
        lines += "[sensor s\(part)-\(index)]\nevent = status\nread = constant:\(String(repeating: "x", count: 2000))\n"
      }
      loader.load(Array(text: lines).span, name: "part".bytesOfLiteral.span)
    }
    var arena = makeArena(byteCount: loader.settingsByteCount)
    let settings = try loader.finish(defaultID: "x".bytesOfLiteral.span, into: &arena)
    let isRefused = settings == nil
    #expect(isRefused)
    #expect(Array(loader.diagnostics.text(at: 0)).text == "f: error: more than 64KB of values")
  }

  @Test func asManySectionsAsMayBe() throws {
    var lines = "[device]\norg=ab12cd\ntype=t\nauth-token=x\n[server]\n[agent]\n[mqtt]\nmessages-per-second=0\n"
    for index in 0..<ConfigurationLimits.eventsMax { lines += "[event e\(index)]\n" }
    for index in 0..<ConfigurationLimits.sensorsMax {
      lines += "[sensor s\(index)]\nevent=e\(index % 64)\nread=uptime\n"
    }
    for index in 0..<ConfigurationLimits.commandsMax { lines += "[command c\(index)]\nrun=/x\n" }
    lines += "[management]\n"
    for index in 0..<ConfigurationLimits.actionsMax { lines += "[action b/c\(index)]\nrun=/x\n" }
    #expect(try complaints(lines) == [])
  }

  @Test func moreSectionsThanFit() throws {
    var lines = base
    for index in 0..<ConfigurationLimits.commandsMax { lines += "[command c\(index)]\nrun=/x\n" }
    #expect(try complaints(lines) == [])
    #expect(
      try complaints(lines + "[command more]\nrun=/x\n")
        == ["f:76:2: error: found one more [command NAME]; expected at most 32"])
    lines = base + "[management]\n"
    for index in 0..<ConfigurationLimits.actionsMax { lines += "[action b/c\(index)]\nrun=/x\n" }
    #expect(try complaints(lines) == [])
    #expect(
      try complaints(lines + "[action b/more]\nrun=/x\n")
        == ["f:77:2: error: found one more [action NAME]; expected at most 32"])
  }

  @Test func actions() throws {
    try expect(
      "[action a/b]\nrun = /x\ntimeout = 1h", "f:12:2: error: found an action without [management]; expected both")
    try expect(
      "[management]\n[action a/b]",
      "f:13:2: error: [action a/b]: run is missing; expected the absolute path of a program")
    try expect(
      "[management]\n[action a/b]\nrun = x",
      #"f:14:7: error: run: found "x"; expected an absolute path, as in /etc/mote/file"#)
    try expect(
      "[management]\n[action a/b]\nrun = /x\n[action a/b]",
      "f:15:2: error: found [action a/b] again; expected it once, as at f:13:2")
    // One that has a bundle in common with another takes no room.
    let bundles = (0..<4).map { index in String(repeating: "\(index)", count: 250) }
    func actions(_ names: [String]) -> String {
      names.map { "[action \($0)/x]\nrun = /x\n[action \($0)/y]\nrun = /x\n" }.joined()
    }
    #expect(try complaints(base + "[management]\n" + actions(Array(bundles.prefix(3)))) == [])
    #expect(
      try complaints(base + "[management]\n" + actions(bundles))
        == ["f:13:2: error: found names of bundles that do not fit one message; expected shorter or fewer ones"])
  }

  @Test func unreadableFile() throws {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    loader.noteUnreadable(name: "/etc/mote/mote.conf".bytesOfLiteral.span, reason: "no permission")
    var arena = makeArena(byteCount: loader.settingsByteCount)
    let isRefused = try loader.finish(defaultID: "x".bytesOfLiteral.span, into: &arena) == nil
    #expect(isRefused)
    // And nothing about all that would have been in it.
    #expect(loader.diagnostics.count == 1)
    #expect(Array(loader.diagnostics.text(at: 0)).text == "/etc/mote/mote.conf: error: cannot be read: no permission")
  }

  @Test func controlCharactersAreMadeVisible() throws {
    var input = Input(base)
    input.flags = [Flag(key: .host, name: "--host", value: "a\n\"b\u{7F}")]
    #expect(
      try complaints(input) == [
        #"--host: error: host: found "a\x0a\x22b\x7f"; expected a host name or an address, without scheme and port"#
      ])
  }
}
