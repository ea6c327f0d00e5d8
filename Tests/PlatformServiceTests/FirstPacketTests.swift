// What comes first on a connection and is no good CONNECT.

import PlatformProtocol
import PlatformService
import TestSupport
import Testing

@Suite struct FirstPacketTests {
  /// A CONNECT of these fields, whose lengths are put in front of them.
  private static func connect(
    name: String = "MQTT", level: UInt8 = 4, flags: UInt8 = 0xC2, client: [UInt8] = Array("d:local0:edge:e1".utf8),
    user: [UInt8] = Array("use-token-auth".utf8)
  ) -> [UInt8] {
    func field(_ bytes: [UInt8]) -> [UInt8] { [0, UInt8(bytes.count)] + bytes }
    let password = field(Array(Rig.token.utf8))
    let body = field(Array(name.utf8)) + [level, flags, 0, 60] + field(client) + field(user) + password
    return [0x10, UInt8(body.count)] + body
  }

  @Test(
    arguments: [
      (connect(level: 5), 1, .version), (connect(name: "MQIsdp", level: 3), 1, .version),
      (connect(name: "MQIsdp", level: 4), nil, .malformed), (connect(name: "MQTX"), nil, .malformed),
      (connect(client: Array("d:local0:edge:".utf8) + [0xFF, 0xFE]), 2, .clientIdentifier),
      (connect(client: []), 2, .clientIdentifier), (connect(user: [0xFF]), nil, .malformed),
      (connect(client: Array("d:local0:edge:e\0".utf8)), nil, .malformed), (connect(flags: 0xC3), nil, .malformed),
      ([0x10, 0], nil, .malformed), ([0x11, 0], nil, .malformed),
      ([0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], nil, .malformed), ([0xC0, 0], nil, .firstPacketNotConnect),
      ([0x00, 0x00], nil, .firstPacketNotConnect), (Array("GET / HTTP/1.1".utf8), nil, .firstPacketNotConnect),
      ([0x82, 2, 0, 1], nil, .firstPacketNotConnect),
    ] as [([UInt8], UInt8?, ClosingCode?)])
  func isMetWithItsCode(bytes: [UInt8], answer: UInt8?, code: ClosingCode?) throws {
    let rig = try Rig()
    let peer = Peer(address: "192.0.2.7", port: 1883, isSecure: false, isWebSocket: false)
    #expect(rig.service.open(1, peer: peer, now: rig.now))
    rig.feed(1, bytes)
    #expect(rig.output.closed[1] == code)
    if code != nil { #expect(rig.received(1) == (answer.map { [.connack(sessionPresent: false, code: $0)] } ?? [])) }
  }

  @Test func saysThatThereIsNoRoom() throws {
    let rig = try Rig()
    let peer = Peer(address: "192.0.2.7", port: 1883, isSecure: false, isWebSocket: false)
    let first = 1_000_000
    for id in 0..<ServiceLimits.connectionsMax { #expect(rig.service.open(first + id, peer: peer, now: rig.now)) }
    let refused = rig.connect("d:local0:edge:e1")
    #expect(rig.received(refused) == [.connack(sessionPresent: false, code: 3)])
    #expect(rig.output.closed[refused] == .capacity)
    // Not more than so many, and who has room when its CONNECT comes is taken.
    for id in 0..<ServiceLimits.connectionsToRefuseMax {
      #expect(rig.service.open(first + ServiceLimits.connectionsMax + id, peer: peer, now: rig.now))
    }
    #expect(!rig.service.open(1, peer: peer, now: rig.now))
    for id in 0...ServiceLimits.connectionsToRefuseMax { rig.drop(first + id) }
    rig.feed(first + ServiceLimits.connectionsMax, FirstPacketTests.connect())
    #expect(rig.received(first + ServiceLimits.connectionsMax) == [.connack(sessionPresent: false, code: 0)])
  }
}
