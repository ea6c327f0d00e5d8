// The MQTT client alone against network and broker model: QoS 2 both ways, subscriptions, all kinds of cuts. It is the
// smallest thing that can be simulated, so a fault found here is closest to its cause.

import Bytes
import MQTT
import TestSupport

/// Drives an `MQTT.Client` as simply as its contract allows, and checks what it promises.
public final class ClientSimulation: BrokerObserver {
  /// What one run is made of.
  public struct Parameters: Sendable {
    /// Whether each connection begins a new session.
    public var cleanSession = false
    /// Messages that may be unconfirmed at a time.
    public var inflightMax = 10
    /// The client's largest packet, in bytes.
    public var packetBytesMax = 1024
    /// The longest pause between two packets from the client.
    public var keepAlive = TimeSpan.seconds(60)
    /// Times between two messages, either way, in milliseconds.
    public var pause = 1...8000
    /// How long things go wrong.
    public var faultTime = TimeSpan.minutes(120)
    /// The weathers that take turns.
    public var weathers: [Weather] = [.slow, .dribble, .flaky, .holes, .sluggishBroker, .forgetfulBroker, .rudeBroker]
    /// A durable session in bad weather.
    public init() {}
  }

  /// The world, for its marks and violation.
  public let world: World
  private let network: Network
  private let broker: Broker
  private let parameters: Parameters
  private var dice: Dice
  private var client: Client

  // What the driver knows.
  private enum Phase {
    case waiting(until: Instant), opening, connected
  }
  private var phase: Phase
  private var wantsSubscription = false
  private var isCalm = false

  // Messages up: number → how often the broker got it, and in which session it did last.
  private struct Upward {
    let qos: UInt8
    var count = 0
    var epoch = 0
    var isAcknowledged = false
  }
  private var upward: [Upward] = []
  private var highestUp = [0, 0, 0]

  // Messages down.
  private struct Downward {
    let qos: UInt8
    var count = 0
    var isLost = false
    var isDelivered = false
    var epoch: Int
  }
  private var downward: [Downward] = []
  private var highestDown = [0, 0, 0]

  /// Prepares a run.
  public init(seed: UInt64, parameters: Parameters, isTracing: Bool, arena: inout Arena) throws {
    world = World(seed: seed, start: Instant(milliseconds: 1000), isTracing: isTracing)
    self.parameters = parameters
    dice = Dice(seed: seed, colour: 9)
    network = Network(world: world, weather: .calm)
    broker = Broker(
      world: world, network: network,
      expectations: BrokerExpectations(
        clientID: Array("client".utf8), userName: Array("user".utf8), password: Array("secret".utf8),
        cleanSession: parameters.cleanSession, keepAliveSeconds: Int(parameters.keepAlive.milliseconds / 1000),
        inflightMax: parameters.inflightMax))
    var options = ClientOptions(keepAlive: parameters.keepAlive, cleanSession: parameters.cleanSession)
    options.inflightMax = parameters.inflightMax
    client = try Client(options: options, packetBytesMax: parameters.packetBytesMax, from: &arena)
    phase = .waiting(until: world.now)
    broker.observer = self
  }

  /// Runs through all weathers, then through a calm time in which everything must be put right.
  public func run() {
    changeWeather()
    planUpward()
    planDownward()
    let faultsEnd = world.now + parameters.faultTime
    world.at(faultsEnd) { [self] in
      network.weather = .calm
      isCalm = true
    }
    advance(until: faultsEnd + .minutes(30))
    checkEnd()
  }

  private func changeWeather() {
    guard !isCalm else { return }
    network.weather = dice.pick(parameters.weathers)
    world.note("weather \(network.weather.name)")
    world.after(dice.span(60_000...1_200_000)) { [self] in changeWeather() }
  }

  private func advance(until end: Instant) {
    var turnsAtOnce = 0
    while world.violation == nil, world.now < end {
      let deadline = turn()
      var next = deadline
      if let planned = world.timeline.next { next = min(next, planned) }
      if next > world.now {
        turnsAtOnce = 0
        world.now = min(next, end)
      } else {
        turnsAtOnce += 1
        if turnsAtOnce > 20_000 { return world.violate("no time passes") }
      }
      // Everything that happens at this moment, then the client's turn.
      while let action = world.timeline.take(upTo: world.now) { action() }
    }
  }

  // MARK: The driver

  /// Does what the client's contract asks of its owner; gives the moment of the next turn.
  private func turn() -> Instant {
    switch phase {
    case .waiting(let until):
      guard world.now >= until else { return until }
      network.open(deadline: world.now + .seconds(90))
      phase = .opening
      return turn()
    case .opening:
      switch network.state {
      case .opening: return world.now + .seconds(95)
      case .open:
        connect()
        return turn()
      case .closed, .failed:
        hangUp()
        return world.now
      }
    case .connected:
      serve()
      guard case .connected = phase else { return world.now }
      return min(client.deadline(), world.now + .minutes(10))
    }
  }

  private func connect() {
    let identifier = StaticString("client"), user = StaticString("user"), password = StaticString("secret")
    do throws(OpenRefusal) {
      let fields = ConnectFields(clientID: identifier.bytes, userName: user.bytes, password: password.bytes)
      try client.open(fields, now: world.now)
    } catch {
      world.violate("open refused: \(error)")
    }
    wantsSubscription = false
    phase = .connected
  }

  /// With messages to send again, the output may have no room at first.
  private func subscribe() {
    guard wantsSubscription, client.isConnected else { return }
    let filter = StaticString("down/#")
    wantsSubscription = client.subscribe(filter: filter.bytes, qos: .exactlyOnce, now: world.now) == nil
    if wantsSubscription { world.mark("subscription-waits") }
  }

  private func hangUp() {
    network.close()
    client.linkClosed()
    phase = .waiting(until: world.now + dice.span(500...5000))
  }

  private func serve() {
    do throws(PeerFault) {
      var isMoving = true
      while isMoving {
        isMoving = false
        while let event = try client.nextEvent(now: world.now) { if !handle(event) { return hangUp() } }
        subscribe()
        if client.input.freeCount > 0 {
          switch network.receive(into: &client.input) {
          case .moved: isMoving = true
          case .wouldBlock: break
          case .ended: return hangUp()
          }
        }
        if !client.output.isEmpty {
          switch network.send(client.output.span) {
          case .moved(let count):
            client.removeSent(count, now: world.now)
            isMoving = true
          case .wouldBlock: break
          case .ended: return hangUp()
          }
        }
      }
      try client.tick(now: world.now)
      if !client.output.isEmpty, case .moved(let count) = network.send(client.output.span) {
        client.removeSent(count, now: world.now)
      }
    } catch {
      world.mark("client-fault-\(error)")
      hangUp()
    }
  }

  /// - Returns: false when the link is to be closed.
  private func handle(_ event: ClientEvent) -> Bool {
    switch event {
    case .connected: wantsSubscription = true
    case .refused: return false
    case .message(let message): receive(message)
    case .acknowledged(let token):
      if upward[Int(token) - 1].isAcknowledged { world.violate("message \(token) acknowledged twice") }
      if upward[Int(token) - 1].count == 0 { world.violate("message \(token) acknowledged, but it never arrived") }
      upward[Int(token) - 1].isAcknowledged = true
    case .subscribed(_, let returnCode):
      if returnCode > 2 { world.violate("subscribed with \(returnCode)") }
    case .unsubscribed, .pingResponse, .qosLowered: break
    }
    return true
  }

  // MARK: Up

  private func planUpward() {
    world.after(dice.span(parameters.pause)) { [self] in
      publish()
      planUpward()
    }
  }

  private func publish() {
    let qos = QoS(rawValue: UInt8(dice.number(0...2))) ?? .atLeastOnce
    let length = dice.once(in: 10) ? dice.number(0...(parameters.packetBytesMax - 60)) : dice.number(0...40)
    let payload = Array("#\(upward.count + 1);".utf8) + [UInt8](repeating: UInt8(ascii: "."), count: length)
    let topic = StaticString("up")
    do throws(PublishRefusal) {
      try client.publish(
        topic: topic.bytes, payload: payload.span, qos: qos, token: UInt64(upward.count + 1), now: world.now)
      upward.append(Upward(qos: qos.rawValue))
    } catch {
      // The others mean that it has to wait.
      if error == .tooLarge || error == .topicInvalid { world.violate("publish refused (\(error))") }
    }
  }

  func brokerAccepted(_ message: PublishPacket, epoch: Int, at time: Instant) {
    guard let number = number(in: message.payload), number >= 1, number <= upward.count else {
      return world.violate("a message that was never published")
    }
    let index = number - 1
    let before = upward[index]
    if message.qos != before.qos { world.violate("message \(number) came with QoS \(message.qos)") }
    if before.count > 0 {
      world.mark("up-twice")
      switch before.qos {
      case 0: world.violate("QoS 0 message \(number) came twice")
      case 1 where before.epoch == epoch && !message.isDuplicate:
        world.violate("3.3.1-1: message \(number) came twice in a session without DUP")
      case 2 where before.epoch == epoch: world.violate("QoS 2 message \(number) came twice in a session")
      default: break
      }
    } else {
      // [MQTT-4.6.0-6]: each topic is ordered; here even each quality of service on its own.
      if number < highestUp[Int(before.qos)] { world.violate("4.6.0-6: message \(number) came late") }
      highestUp[Int(before.qos)] = number
    }
    upward[index].count += 1
    upward[index].epoch = epoch
  }

  private func number(in payload: [UInt8]) -> Int? {
    guard payload.first == UInt8(ascii: "#") else { return nil }
    return Int(String(decoding: payload.dropFirst().prefix { $0 != UInt8(ascii: ";") }, as: UTF8.self))
  }

  // MARK: Down

  private func planDownward() {
    world.after(dice.span(parameters.pause)) { [self] in
      let qos = UInt8(dice.number(0...2))
      // Sometimes larger than the client takes: told as truncated, acknowledged all the same.
      let length = dice.once(in: 30) ? dice.number(0...(3 * parameters.packetBytesMax)) : dice.number(0...40)
      downward.append(Downward(qos: qos, epoch: broker.epoch))
      let payload = Array("#\(downward.count);".utf8) + [UInt8](repeating: UInt8(ascii: "."), count: length)
      broker.publish(topic: Array("down/\(downward.count)".utf8), payload: payload, qos: qos)
      planDownward()
    }
  }

  private func receive(_ message: IncomingMessage) {
    let topic = Array(client.input.span.extracting(message.topic))
    guard let number = Int(String(decoding: topic.dropFirst(5), as: UTF8.self)), number <= downward.count else {
      return world.violate("a message that nobody sent")
    }
    if message.isTruncated { world.mark("truncated") }
    if !message.isTruncated, message.payload.count < 3 { world.violate("a payload is missing") }
    let index = number - 1
    downward[index].count += 1
    let qos = Int(downward[index].qos)
    if downward[index].count > 1 {
      if qos != 1 { world.violate("QoS \(qos) message \(number) was told \(downward[index].count) times") }
      if !message.isDuplicate { world.violate("message \(number) came again without a mark") }
    } else {
      if number < highestDown[qos] { world.violate("message \(number) was told late") }
      highestDown[qos] = number
    }
  }

  func brokerDelivered(_ payload: [UInt8]) {
    guard let number = number(in: payload) else { return }
    downward[number - 1].isDelivered = true
    if downward[number - 1].count == 0 { world.violate("message \(number) was acknowledged, but not told") }
  }

  func brokerLost(_ payload: [UInt8]) {
    guard let number = number(in: payload) else { return }
    downward[number - 1].isLost = true
  }

  // MARK: The end

  private func checkEnd() {
    guard world.violation == nil else { return }
    guard case .connected = phase, client.isConnected else { return world.violate("not connected after a calm time") }
    // The last few may still be under way.
    let settled = upward.dropLast(20)
    for (index, message) in settled.enumerated() where message.qos > 0 {
      if message.count == 0 { world.violate("message \(index + 1) of QoS \(message.qos) never arrived") }
      if !message.isAcknowledged { world.violate("message \(index + 1) was never acknowledged") }
    }
    for (index, message) in downward.dropLast(20).enumerated() where message.qos > 0 && !message.isLost {
      if !message.isDelivered { world.violate("message \(index + 1) to the client was never acknowledged") }
    }
    if client.inflightCount > 5 { world.violate("\(client.inflightCount) messages are in flight after a calm time") }
  }

  /// How many messages were sent either way.
  public var messageCount: Int { upward.count + downward.count }
}
