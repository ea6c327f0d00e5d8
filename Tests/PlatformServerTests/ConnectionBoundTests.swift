// How many connections there may be: those that nobody knows, and those that wait for a disk.

import Bytes
import Logging
import NIOCore
import NIOEmbedded
import NIOPosix
import PlatformProtocol
import PlatformService
import Testing

@testable import PlatformServer

@Suite struct ConnectionBoundTests {
  /// As many strangers as there may be leave room for those who have logged in, and for the next stranger.
  @Test func strangersLeaveRoomForThoseWhoAreKnown() throws {
    let connections = HTTPConnections()
    var next = 0
    // Of so many addresses that the bound of one address is not what counts.
    func connect() throws -> EmbeddedChannel {
      defer { next += 1 }
      let channel = EmbeddedChannel()
      let address = try SocketAddress(ipAddress: "192.0.2.\(next % 20)", port: 40_000)
      channel.connect(to: address, promise: nil)
      #expect(channel.remoteAddress == address)
      connections.add(channel)
      return channel
    }
    let known = try (0..<100).map { _ in
      let channel = try connect()
      connections.noteLogin(channel)
      return channel
    }
    var strangers = try (0..<ServerLimits.httpStrangersMax).map { _ in try connect() }
    #expect(strangers.allSatisfy { $0.isActive })
    strangers += try (0..<50).map { _ in try connect() }
    #expect(strangers.prefix(50).allSatisfy { !$0.isActive })
    #expect(strangers.dropFirst(50).allSatisfy { $0.isActive })
    #expect(known.allSatisfy { $0.isActive })
    // Who logs in now is no stranger any more, and makes room for one.
    connections.noteLogin(strangers[50])
    _ = try connect()
    #expect(strangers[50].isActive && strangers[51].isActive)
    // What has gone is not counted.
    for channel in strangers + known { connections.remove(channel) }
    #expect(connections.count == 1)
    #expect(ServerLimits.httpStrangersMax < ServerLimits.httpConnectionsMax)
  }

  /// A connection that the service has forgotten, and that waits for a full disk to end, still has a socket.
  @Test func socketsThatWaitForTheDiskAreCounted() async {
    let platform = ServiceActor(
      ServiceConfiguration(
        organization: "local0", allowsQuickstart: true, rates: .standard, isKept: false,
        random: { UInt64.random(in: .min ... .max) }),
      state: StoredState(), store: nil, eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
      logger: Logger(label: "test"))
    let taken = await platform.connectAfterWaiting(
      ServiceLimits.connectionsMax + ServiceLimits.connectionsToRefuseMax - 1)
    #expect(taken == [true, false, true])
  }
}

extension ServiceActor {
  /// So many connections end as soon as a disk lets them; whether one more is taken then, a second one, and another one
  /// after the first of those that waited has gone.
  fileprivate func connectAfterWaiting(_ count: Int) -> [Bool] {
    for _ in 0..<count {
      let id = makeConnectionID()
      hub.add(WaitingConnection(), id)
      // Behind a commit that never comes.
      hub.send([0xE0, 0].span, to: id, after: 1)
      hub.close(id, code: .byClient, after: 1)
    }
    let peer = Peer(address: "192.0.2.1", port: 1883, isSecure: false, isWebSocket: false)
    func isTaken() -> Bool {
      open(Unchecked(MQTTHandler(platform: self, isSecure: false, isWebSocket: false)), peer) != nil
    }
    let first = [isTaken(), isTaken()]
    hub.remove(1)
    return first + [isTaken()]
  }
}

/// A connection without a socket.
private final class WaitingConnection: HubConnection {
  var isDirty = false
  var held: HeldOutput?

  func enqueue(_ bytes: Span<UInt8>) {}
  func flush() {}
  func finish() {}
  func abort() {}
  func stopReading() {}
  func pause(until moment: Instant) {}
}
