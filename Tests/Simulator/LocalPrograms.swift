// Local programs that ask the agent in the simulated world: one that asks and listens, and others that are stuck, slow,
// greedy, talk rubbish or leave.

import Bytes
import HostInterface

/// Whoever comes to the control socket.
final class LocalPrograms {
  private enum Kind: CaseIterable { case plain, silent, stuck, slow, greedy, rubbish, leaving }

  private final class Client {
    let kind: Kind
    let arrived: Instant
    var said: [UInt8]
    var takes: Int
    var answer: [UInt8] = []

    init(_ kind: Kind, said: [UInt8], takes: Int, arrived: Instant) {
      (self.kind, self.said, self.takes, self.arrived) = (kind, said, takes, arrived)
    }
  }

  private let world: World
  private var dice: Dice
  private var waiting: [Client] = []
  private var client: Client?
  private(set) var hasNews = false
  private var hasArrivals = false
  private var isOpen = false

  init(world: World) {
    self.world = world
    dice = Dice(seed: world.seed, colour: 11)
  }

  /// From now on they come.
  func begin() {
    isOpen = true
    planArrival()
  }

  private func planArrival() {
    world.after(dice.spanOfAnyMagnitude(1...600_000)) { [self] in
      // No more than the system lets wait.
      if waiting.count < HostLimits.controlClientsMax { waiting.append(makeClient()) }
      tell(isArrival: true)
      planArrival()
    }
  }

  private func makeClient() -> Client {
    let kind = dice.pick(Kind.allCases)
    let status = Array("status --json\n".utf8)
    switch kind {
    case .plain, .leaving: return Client(kind, said: status, takes: .max, arrived: world.now)
    case .silent: return Client(kind, said: Array("stat".utf8), takes: .max, arrived: world.now)
    case .stuck: return Client(kind, said: status, takes: dice.number(0...2000), arrived: world.now)
    case .slow: return Client(kind, said: status, takes: 0, arrived: world.now)
    case .greedy:
      return Client(kind, said: Array(repeating: status, count: 200).flatMap { $0 }, takes: .max, arrived: world.now)
    case .rubbish:
      return Client(
        kind, said: (0..<dice.number(1...3000)).map { _ in UInt8(dice.number(0...255)) }, takes: .max,
        arrived: world.now)
    }
  }

  private func tell(isArrival: Bool = false) {
    hasNews = true
    if isArrival { hasArrivals = true }
    world.hasNews = true
  }

  // MARK: What the host does

  func takeNews() -> Bool {
    defer { (hasNews, hasArrivals) = (false, false) }
    return hasArrivals
  }

  func accept() -> Bool {
    if client != nil { world.violate("host: there is a client already") }
    guard isOpen, !waiting.isEmpty else { return false }
    client = waiting.removeFirst()
    if !waiting.isEmpty { tell(isArrival: true) }
    return true
  }

  func receive(into buffer: inout ByteBuffer) -> LinkTransfer {
    if buffer.freeCount == 0 { world.violate("host: there is no room") }
    guard let client else { return .ended(.connectionLost) }
    guard !client.said.isEmpty else { return client.kind == .leaving ? .ended(.closedByPeer) : .wouldBlock }
    let piece = Array(client.said.prefix(min(buffer.freeCount, dice.number(1...300))))
    client.said.removeFirst(piece.count)
    buffer.append(piece.span)
    return .moved(piece.count)
  }

  func send(_ bytes: Span<UInt8>) -> LinkTransfer {
    guard let client else { return .ended(.connectionLost) }
    guard client.takes > 0 else {
      if client.kind == .slow {
        world.after(dice.span(1...400)) { [self] in
          client.takes = dice.number(1...500)
          tell()
        }
      }
      return .wouldBlock
    }
    let count = min(bytes.count, client.takes)
    client.answer += Array(bytes.extracting(0..<count))
    if client.takes != .max { client.takes -= count }
    return .moved(count)
  }

  /// Who asks and listens has been told, whoever else is there; each of those before him held his place for two seconds
  /// at most, and for one without a word.
  func close() {
    guard let client else { return }
    self.client = nil
    world.mark("local-\(client.kind)")
    guard client.kind == .plain || client.kind == .leaving else { return }
    let text = String(decoding: client.answer, as: UTF8.self)
    guard text.hasPrefix("{\"connection\":\""), text.hasSuffix("\n=0 ok\n") || text.hasSuffix("\n=75 not-connected\n")
    else { return world.violate("a local program was told \(text)") }
  }
}

extension SimulatedHost {
  var hasControlNews: Bool { machine.localPrograms.hasNews }
  mutating func takeControlNews() -> Bool { machine.localPrograms.takeNews() }
  mutating func acceptControlClient() -> Bool { machine.localPrograms.accept() }
  mutating func receiveControl(into buffer: inout ByteBuffer) -> LinkTransfer {
    machine.localPrograms.receive(into: &buffer)
  }
  mutating func sendControl(_ bytes: Span<UInt8>) -> LinkTransfer { machine.localPrograms.send(bytes) }
  mutating func closeControl() { machine.localPrograms.close() }
  mutating func ownProcess() -> OwnProcess { OwnProcess(identifier: 1, residentBytes: 0) }
  func appendVersion(to buffer: inout ByteBuffer) { buffer.append("simulated") }
}

extension AgentSimulation {
  /// From now on local programs come, good ones and bad ones.
  public func startLocalPrograms() { machine.localPrograms.begin() }
}
