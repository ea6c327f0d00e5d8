import Bytes
import TestSupport
import Testing

@testable import MQTT

@Suite struct TopicRulesTests {
  @Test func topicNamesFollowSection4Point7() {
    let names: [([UInt8], PeerFault?)] = [
      ("a".utf8Array, nil), ("/".utf8Array, nil), ("a//b".utf8Array, nil), (" a b ".utf8Array, nil),
      ("iot-2/evt/status/fmt/json".utf8Array, nil), ("$SYS/x".utf8Array, nil), ("Ä/ö/€/🙂".utf8Array, nil),
      ([], .topicEmpty), ("+".utf8Array, .topicHasWildcard), ("a/b/c/d/e/f/g/h/#".utf8Array, .topicHasWildcard),
      ("a+".utf8Array, .topicHasWildcard), ("\0".utf8Array, .textHasNull), ("abcdefgh\0".utf8Array, .textHasNull),
      ([0xED, 0xBF, 0xBF], .textNotUTF8), ("abcdefghij".utf8Array + [0x80], .textNotUTF8),
      // [MQTT-1.5.3-3]: a byte order mark is a character like others.
      ([0xEF, 0xBB, 0xBF], nil), ([0xEE, 0x80, 0x80], nil), ([0xEF, 0xBF, 0xBF], nil), ([0xF4, 0x8F, 0xBF, 0xBF], nil),
      // Control characters are advised against, not forbidden.
      ("a\u{1}b".utf8Array, nil), ("a\u{7F}".utf8Array, nil),
    ]
    for (name, expected) in names { #expect(fault(ofName: name) == expected, "\(name)") }
  }

  /// The check of eight bytes at a time agrees with one of single bytes, for every byte at every place.
  @Test func wideAndNarrowChecksAgree() {
    for count in 1...24 {
      for place in 0..<count {
        for value in UInt8.min...UInt8.max {
          var name = [UInt8](repeating: 0x2F, count: count)
          name[place] = value
          let expected: PeerFault? =
            switch value {
            case 0: .textHasNull
            case 0x23, 0x2B: .topicHasWildcard
            case 0x80...: .textNotUTF8
            default: nil
            }
          #expect(fault(ofName: name) == expected)
        }
      }
    }
  }

  @Test func topicFiltersFollowSection4Point7() {
    let filters: [(String, PeerFault?)] = [
      ("#", nil), ("+", nil), ("/+", nil), ("+/+", nil), ("a/+/b", nil), ("+/tennis/#", nil), ("a/#", nil),
      ("iot-2/cmd/+/fmt/+", nil), ("", .topicEmpty), ("a#", .filterMultiLevelWildcard),
      ("a/#/b", .filterMultiLevelWildcard), ("##", .filterMultiLevelWildcard), ("#/", .filterMultiLevelWildcard),
      ("a+", .filterSingleLevelWildcard), ("+a", .filterSingleLevelWildcard), ("a/+b/c", .filterSingleLevelWildcard),
      ("++", .filterSingleLevelWildcard), ("a\0", .textHasNull),
    ]
    for (filter, expected) in filters { #expect(fault(ofFilter: filter) == expected, "\(filter)") }
  }

  @Test func filtersMatchAsTheExamplesOfSection4Point7Say() {
    let cases: [(String, String, Bool)] = [
      ("sport/tennis/player1/#", "sport/tennis/player1", true),
      ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
      ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
      ("sport/tennis/player1/#", "sport/tennis/player10", false),
      ("sport/#", "sport", true), ("#", "a/b/c", true), ("sport/tennis/+", "sport/tennis/player1", true),
      ("sport/tennis/+", "sport/tennis/player1/ranking", false), ("sport/+", "sport", false),
      ("sport/+", "sport/", true), ("+/+", "/finance", true), ("/+", "/finance", true), ("+", "/finance", false),
      // [MQTT-4.7.2-1]
      ("#", "$SYS/a", false), ("+/a", "$SYS/a", false), ("$SYS/#", "$SYS/a", true), ("$SYS/+", "$SYS/a", true),
      // [MQTT-4.7.3-4]: character for character, case too.
      ("ACCOUNTS", "Accounts", false), ("a", "a", true), ("a", "ab", false), ("ab", "a", false), ("a/b", "a", false),
      ("a", "a/b", false), ("/", "/", true), ("a/#", "b", false), ("+/b", "a/b", true), ("+/+/#", "a", false),
      ("+/#", "a", true), ("a//b", "a//b", true), ("a/+/b", "a//b", true),
      ("iot-2/cmd/+/fmt/+", "iot-2/cmd/blink/fmt/json", true), ("iot-2/cmd/+/fmt/+", "iot-2/cmd/blink/fmt", false),
    ]
    for (filter, topic, matches) in cases {
      #expect(does(filter, match: topic) == matches, "\(filter) \(topic)")
    }
  }
}
