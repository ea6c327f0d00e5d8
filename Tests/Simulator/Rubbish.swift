// What no broker may send, and every client must answer by closing the connection (clause 4.8).

/// A malformed or forbidden packet.
struct Rubbish {
  let name: String
  let bytes: [UInt8]

  /// One of each kind.
  static let all: [Rubbish] = [
    Rubbish(name: "reserved-type-0", bytes: [0x00, 0]),
    Rubbish(name: "reserved-type-15", bytes: [0xF0, 0]),
    Rubbish(name: "length-of-five-bytes", bytes: [0x30, 0x80, 0x80, 0x80, 0x80, 1]),
    Rubbish(name: "qos-3", bytes: [0x36, 6, 0, 1, 0x61, 0, 1, 0x62]),
    Rubbish(name: "dup-with-qos-0", bytes: [0x38, 4, 0, 1, 0x61, 0x62]),
    Rubbish(name: "topic-longer-than-packet", bytes: [0x30, 4, 0, 9, 0x61, 0x62]),
    Rubbish(name: "wildcard-in-topic", bytes: [0x30, 4, 0, 1, 0x2B, 0x62]),
    Rubbish(name: "empty-topic", bytes: [0x30, 3, 0, 0, 0x62]),
    Rubbish(name: "topic-not-utf8", bytes: [0x30, 4, 0, 1, 0xFF, 0x62]),
    Rubbish(name: "identifier-0", bytes: [0x32, 6, 0, 1, 0x61, 0, 0, 0x62]),
    Rubbish(name: "publish-without-identifier", bytes: [0x32, 3, 0, 1, 0x61]),
    Rubbish(name: "second-connack", bytes: [0x20, 2, 0, 0]),
    Rubbish(name: "puback-of-3-bytes", bytes: [0x40, 3, 0, 1, 0]),
    Rubbish(name: "puback-flags", bytes: [0x41, 2, 0, 1]),
    Rubbish(name: "pubrel-flags", bytes: [0x60, 2, 0, 1]),
    Rubbish(name: "pingresp-with-body", bytes: [0xD0, 1, 0]),
    Rubbish(name: "suback-code-3", bytes: [0x90, 3, 0, 1, 3]),
    Rubbish(name: "connect-from-server", bytes: [0x10, 2, 0, 0]),
    Rubbish(name: "subscribe-from-server", bytes: [0x82, 6, 0, 1, 0, 1, 0x61, 0]),
    Rubbish(name: "pingreq-from-server", bytes: [0xC0, 0]),
    Rubbish(name: "disconnect-from-server", bytes: [0xE0, 0]),
  ]
}
