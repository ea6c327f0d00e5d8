import Bytes
import IoTPlatform
import TestSupport
import Testing

@testable import AgentConfiguration

@Suite struct ValuesTests {
  @Test(arguments: [
    ("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000), ("0s", 0),
    ("18h12m15s", 65_535_000), ("1h30m", 5_400_000), ("1S", 1000), ("999999999d", 86_399_999_913_600_000),
  ])
  func durations(text: String, milliseconds: Int64) {
    #expect(Values.duration(Array(text: text).span) == .amount(milliseconds))
  }

  @Test(arguments: ["", "s", "10x", "1m1h", "1s1s", "1.5s", "-1s", "10 s", "1000000000s", "10s ", "ms", "1e3s"])
  func noDurations(text: String) {
    #expect(Values.duration(Array(text: text).span) == .malformed)
  }

  @Test func numbersWithoutUnitAreTold() {
    #expect(Values.duration("10".bytesOfLiteral.span) == .bare(10))
    #expect(Values.size("10".bytesOfLiteral.span) == .bare(10))
  }

  @Test(arguments: [("512B", 512), ("64KB", 65_536), ("1MB", 1_048_576), ("1kb", 1024), ("0B", 0)])
  func sizes(text: String, byteCount: Int64) {
    #expect(Values.size(Array(text: text).span) == .amount(byteCount))
  }

  @Test(arguments: ["", "KB", "1.5KB", "64K", "64KiB", "-1KB", "64 KB", "1000000000MB"])
  func noSizes(text: String) {
    #expect(Values.size(Array(text: text).span) == .malformed)
  }

  @Test func booleans() {
    for word in ["yes", "true", "on", "1", "Yes", "TRUE"] { #expect(Values.boolean(Array(text: word).span) == true) }
    for word in ["no", "false", "off", "0", "No"] { #expect(Values.boolean(Array(text: word).span) == false) }
    for word in ["", "y", "2", "yess", "yes|true"] { #expect(Values.boolean(Array(text: word).span) == nil) }
  }

  @Test func hosts() {
    for host in ["localhost", "127.0.0.1", "::1", "fe80::1%eth0", "a_b-c.example", "x"] {
      let isHost = Values.isHost(Array(text: host).span)
      #expect(isHost, "\(host)")
    }
    let tooLong = String(repeating: "a", count: 254)
    for host in ["", "host:1883", "mqtt://host", "a b", "höst", "a/b", tooLong] {
      let isHost = Values.isHost(Array(text: host).span)
      #expect(!isHost, "\(host)")
    }
  }

  @Test(arguments: [
    (250, "250ms"), (10_000, "10s"), (65_535_000, "18h12m15s"), (604_800_000, "7d"), (0, "0s"),
    (90_061_001, "1d1h1m1s1ms"),
  ])
  func durationsAreWrittenWithoutRemainder(milliseconds: Int64, text: String) {
    var buffer = makeBuffer()
    buffer.append(duration: .milliseconds(milliseconds))
    #expect(buffer.text == text)
    #expect(milliseconds == 0 || Values.duration(buffer.span) == .amount(milliseconds))
  }

  @Test(arguments: [(1, "1B"), (1024, "1KB"), (1025, "1025B"), (132_096, "129KB"), (1_048_576, "1MB"), (0, "0B")])
  func sizesAreWrittenInTheLargestUnit(byteCount: Int, text: String) {
    var buffer = makeBuffer()
    buffer.append(size: byteCount)
    #expect(buffer.text == text)
  }
}

@Suite struct WordListTests {
  @Test(arguments: [
    ("port", "port", 0), ("prot", "port", 1), ("hst", "host", 1), ("keepalive", "keep-alive", 1), ("", "abc", 3),
    ("abc", "", 3), ("ABC", "abc", 0), ("kitten", "sitting", 3), ("ca", "abc", 3), ("intervall", "interval", 1),
  ])
  func distance(source: String, target: String, expected: Int) {
    #expect(editDistance(Array(text: source).span, Array(text: target).span) == expected)
  }

  @Test func longWordsAreNotCompared() {
    let long = Array(text: String(repeating: "a", count: 41))
    #expect(editDistance(long.span, "a".bytesOfLiteral.span) == nil)
    #expect(editDistance("a".bytesOfLiteral.span, long.span) == nil)
    let longest = Array(text: String(repeating: "a", count: 40))
    #expect(editDistance(longest.span, longest.span) == 0)
  }

  @Test func words() {
    let list = WordList("error|warning|info|debug")
    #expect(list.index(of: "error".bytesOfLiteral.span) == 0)
    #expect(list.index(of: "Debug".bytesOfLiteral.span) == 3)
    #expect(list.index(of: "inf".bytesOfLiteral.span) == nil)
    #expect(list.index(of: "".bytesOfLiteral.span) == nil)
    #expect(list.index(of: "error|warning".bytesOfLiteral.span) == nil)
    #expect(list.nearest(to: "waning".bytesOfLiteral.span) == 6..<13)
    #expect(list.nearest(to: "verbose".bytesOfLiteral.span) == nil)
  }
}

@Suite struct KeyTests {
  /// What cannot be seen from one line of the table: each key has its own, at its number.
  @Test func theTableHasEachKeyAtItsNumber() {
    for index in KeyTable.keys.indices { #expect(Int(KeyTable.keys[index].key.rawValue) == index) }
    #expect(KeyTable.keys.count == Int(Key.rootCertificateFile.rawValue))
    #expect(Key(rawValue: Key.foreign.rawValue + 1) == nil)
  }

  @Test func everyDefaultIsInItsRange() {
    for index in KeyTable.keys.indices {
      let key = KeyTable.keys[index]
      switch key.type {
      case .count, .size: #expect(key.range.contains(key.standardCount), "\(key.name)")
      case .time, .timeOrZero: #expect(key.times.contains(key.standardTime), "\(key.name)")
      case .text, .boolean, .decimal, .logLevel, .valueType, .installer, .fullPolicy, .priority, .keeping: break
      }
    }
  }

  /// Each must be reachable, and mean one thing in each section.
  @Test func everySpellingIsFoundWhereItIsKnown() {
    for index in 0..<Spelling.count {
      let spelling = Spelling.at(index)
      for raw in UInt8(0)...6 {
        guard let section = SectionKind(rawValue: raw), spelling.isKnown(in: section) else { continue }
        #expect(Spelling.index(of: spelling.name.bytes, in: section) == index, "\(spelling.name)")
      }
    }
  }

  @Test func everyKeyHasASpelling() {
    for raw in 0...Key.foreign.rawValue {
      guard let key = Key(rawValue: raw) else { continue }
      #expect(Spelling.at(Spelling.canonicalIndex(of: key)).key == key, "\(key)")
    }
  }

  @Test func ourOwnSpellingsComeFirst() {
    #expect(Key.organization.name.description == "org")
    #expect(Key.valueType.name.description == "type")
    #expect(Key.timeout.name.description == "timeout")
    #expect(Spelling.at(Spelling.canonicalIndex(of: .gatewayID)).name.description == "Gateway-ID")
  }

  @Test func variablesAreListedOnce() {
    var names: Set<String> = []
    for index in 0..<EnvironmentVariable.count { names.insert(Array(EnvironmentVariable.at(index).name).text) }
    #expect(names.count == EnvironmentVariable.count && names.allSatisfy { $0.hasPrefix("WIOTP_") })
    for (name, key) in [
      ("WIOTP_AUTH_TOKEN", Key.token), ("WIOTP_OPTIONS_MQTT_CLEANSESSION", .cleanSession),
      ("WIOTP_AUTH_PRIVATEKEYPASSWORD", .certificatePassword), ("WIOTP_OPTIONS_HTTP_VERIFY", .foreign),
    ] {
      let index = (0..<EnvironmentVariable.count).first { Array(EnvironmentVariable.at($0).name).text == name }
      #expect(index.map { EnvironmentVariable.at($0).key } == key, "\(name)")
    }
    let last = EnvironmentVariable.count - 1
    #expect(Array(EnvironmentVariable.at(last).name).text == "WIOTP_OPTIONS_HTTP_VERIFY")
  }
}

@Suite struct LimitTests {
  /// Bounds that depend on each other; where they are named one does not see the other.
  @Test func limitsGoTogether() {
    // CONNECT: fixed header, protocol, flags, keep alive; then three fields with two bytes of length each (MQTT 3.1).
    let connect =
      5 + 10 + 2 + IdentityRules.clientIdentifierBytesMax
      + 2 + IdentityRules.tokenUserName.utf8CodeUnitCount + 2 + ConfigurationLimits.tokenBytesMax
    let packet = Key.packetSize.description
    #expect(connect <= packet.range.lowerBound)
    #expect(packet.range.upperBound >= PayloadLimits.bytesMax + Topics.eventTopicBytesMax + 9)
    #expect(Key.queueSize.description.standardCount >= packet.standardCount)
    #expect(Key.keepAlive.description.times.upperBound == .seconds(Int64(UInt16.max)))
    #expect(Key.inflightMax.description.standardCount <= AdvisedLimits.inflightMax)
    #expect(Key.keepAlive.description.standardTime <= AdvisedLimits.keepAliveMax)
    #expect(Key.port.description.standardCount == 8883)
    // Indices of origins and sections, and lengths, have one or two bytes.
    #expect(ConfigurationLimits.originsMax <= Int(UInt8.max))
    #expect(ConfigurationLimits.sectionsMax < Int(UInt16.max) && ConfigurationLimits.entriesMax < Int(UInt16.max))
    #expect(Spelling.count <= Int(UInt8.max))
    // What one line may hold, the whole may hold.
    #expect(ConfigurationLimits.lineBytesMax > ConfigurationLimits.tokenBytesMax + 32)
    #expect(ConfigurationLimits.lineBytesMax > ConfigurationLimits.pathBytesMax + 32)
  }
}
