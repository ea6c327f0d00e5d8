// The platform's rules as one state machine. Each input is a method call with the time and is handled to its end; what
// is to be done about it are calls of `ServiceOutput`.

import Bytes
import IoTPlatform
import MQTT
import PlatformProtocol

/// What the platform is started with.
public struct ServiceConfiguration: Sendable {
  /// The organisation whose devices and applications are registered here: six lower-case letters and digits.
  public var organization: String
  /// Whether Quickstart's organisation is open: anyone may connect without credentials.
  public var allowsQuickstart: Bool
  /// How fast clients may publish.
  public var rates: RatePlan
  /// Whether what is registered outlives this run.
  public var isKept: Bool
  /// Random bits for identifiers, salts and tokens.
  public var random: @Sendable () -> UInt64

  /// How fast clients may publish.
  public enum RatePlan: String, Sendable, CaseIterable {
    /// The platform's standard plan.
    case standard
    /// Its plan for trying.
    case lite
    /// As fast as they can; Quickstart's limit stays.
    case unlimited
  }

  /// A configuration.
  public init(
    organization: String, allowsQuickstart: Bool = true, rates: RatePlan = .standard, isKept: Bool = true,
    random: @escaping @Sendable () -> UInt64
  ) {
    self.organization = organization
    self.allowsQuickstart = allowsQuickstart
    self.rates = rates
    self.isKept = isKept
    self.random = random
  }
}

/// The platform, without I/O. Not for several threads at a time: its owner gives it one.
public final class PlatformService {
  let configuration: ServiceConfiguration
  unowned let output: any ServiceOutput
  let own: Organization
  let quickstart: Organization
  var connections: [ConnectionID: ClientConnection] = [:]
  var observers = Observers()
  /// Bytes that wait in mailboxes.
  var mailboxBytes = 0
  /// Bytes between clients and the platform by day, and since that was last noted.
  var usage: [String: Int64] = [:]
  var trafficBytes: Int64 = 0
  private var nextObserver = 1
  /// API keys whose time is over, and whose connections were ended for that.
  var endedKeys: Set<String> = []
  /// The time of the input being handled.
  var now: Moment
  /// The commit that the answer to the input being handled must wait for.
  var commit: CommitNumber = 0
  /// Failed authentications and takeovers by client identifier.
  var failures: [String: FailureRecord] = [:]
  var nextSessionNumber: Int64 = 1
  var queuedBytes = 0
  var packets = PacketWriter()
  /// Counts deliveries, so that a session with several matching subscriptions gets a message once.
  var deliveryCount: UInt64 = 0
  var targets: [DeliveryTarget] = []
  /// The long form of the topic being delivered.
  var longTopic: [UInt8] = []
  /// What has been done since the start.
  public internal(set) var counters = ServiceCounters()
  /// Devices with last events that are not stored yet.
  var unstoredEvents: [Device] = []
  var lastEventsStored: Instant
  var usageStored: Instant
  /// When durable sessions were last looked at.
  var sessionsSwept: Instant
  /// Counts inputs: what one of them sends to one client has a bound.
  private(set) var inputNumber: UInt64 = 0
  /// Requests to devices that wait for an answer, by `reqId`.
  var awaitedAnswers: [String: (request: String, device: DeviceKey)] = [:]
  /// The question behind which a device restarts: one that cannot after all answers it once more.
  var restartQuestions: [DeviceKey: String] = [:]

  struct FailureRecord {
    var count: Int
    var last: Instant
    /// The connection whose answer is being delayed.
    var delayed: ConnectionID?
  }

  /// A platform with what was kept by an earlier run.
  public init(
    _ configuration: ServiceConfiguration, state: StoredState = StoredState(), output: any ServiceOutput, now: Moment
  ) {
    self.configuration = configuration
    self.output = output
    self.now = now
    lastEventsStored = now.instant
    usageStored = now.instant
    sessionsSwept = now.instant
    own = Organization(name: configuration.organization)
    quickstart = Organization(name: "quickstart")
    restore(state)
  }

  /// Sessions, connections and devices know each other.
  deinit {
    for session in Array(own.sessions.values) + Array(quickstart.sessions.values) {
      session.connection?.state = .closed
      session.presence = .gone
      session.device = nil
    }
  }

  /// The organisation of this name.
  func organization(_ name: String) -> Organization? {
    if name == own.name { return own }
    return name == quickstart.name && configuration.allowsQuickstart ? quickstart : nil
  }

  /// Begins to handle an input.
  func begin(_ now: Moment) {
    self.now = now
    commit = 0
    inputNumber += 1
  }

  /// Keeps a change; the answer to the input being handled waits for it.
  func store(_ operation: StoreOperation) {
    commit = max(commit, output.store(operation))
  }

  func log(
    _ level: ServiceLogEntry.Level, _ component: String, _ event: String, _ values: KeyValuePairs<String, String> = [:]
  ) {
    output.log(ServiceLogEntry(level: level, component: component, event: event, values: values.map { ($0, $1) }))
  }

  /// A random identifier that looks like a UUID (RFC 9562, version 4).
  func uuid() -> String {
    let high = configuration.random() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
    let low = configuration.random() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    let digits = Array(hexadecimal(high) + hexadecimal(low))
    return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
  }

  private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  // MARK: - Observers

  /// Begins a stream of observations.
  ///
  /// - Throws: `unavailable` when there are too many.
  public func observe(_ filter: ObservationFilter) throws(ServiceError) -> ObserverID {
    guard observers.count < ServiceLimits.observersMax else {
      throw ServiceError(.unavailable, "At most \(ServiceLimits.observersMax) streams can be open.")
    }
    if let client = filter.client,
      observers.count(where: { $0.client == client }) >= ServiceLimits.observersOfClientMax
    {
      throw ServiceError(
        .unavailable, "At most \(ServiceLimits.observersOfClientMax) streams of one address or API key can be open.")
    }
    if filter.organization == quickstart.name {
      // Who comes without a login leaves room for those who have one.
      let count = observers.count { $0.organization == quickstart.name }
      guard count < ServiceLimits.quickstartObserversMax else {
        throw ServiceError(
          .unavailable, "At most \(ServiceLimits.quickstartObserversMax) streams of Quickstart can be open.")
      }
    }
    defer { nextObserver += 1 }
    observers.add(nextObserver, filter)
    return nextObserver
  }

  /// Ends a stream.
  public func stopObserving(_ id: ObserverID) { observers.remove(id) }

  func tellObservers(
    _ organization: Organization, device: DeviceKey?, _ kind: Observers.Kind,
    _ observation: @autoclosure () -> Observation
  ) {
    // Made once, however many want it: they share its payload.
    var shown: Observation?
    var bare: Observation?
    for (id, filter) in observers.watching(kind, organization.name, device) {
      let whole = shown ?? observation().leavingOutPayload(longerThan: ServiceLimits.observedPayloadBytesMax)
      shown = whole
      if filter.includesPayloads {
        output.notify(observer: id, whole)
      } else {
        let short = bare ?? whole.leavingOutPayload(longerThan: 0)
        bare = short
        output.notify(observer: id, short)
      }
    }
  }

  func tellChange(_ organization: Organization, _ device: DeviceKey?, _ observation: Observation) {
    tellObservers(organization, device: device, .changes, observation)
  }
}

/// What the platform has done since it was started.
public struct ServiceCounters: Sendable, Equatable {
  /// Messages from clients.
  public var received = 0
  /// Messages to clients.
  public var delivered = 0
  /// Messages of QoS 0 that a blocked client did not get.
  public var droppedForBlocked = 0
  /// Messages that queues had no more room for.
  public var droppedFromQueues = 0
  /// Messages that Quickstart's limit dropped.
  public var droppedByRate = 0
}

/// Packets of the service, written into memory that is taken once.
struct PacketWriter: ~Copyable {
  // DEVIATION(unsafe-pointer): memory that lives as long as the service.
  private let memory: UnsafeMutableRawPointer
  var buffer: ByteBuffer

  /// A PUBLISH of the largest payload, and whatever is shorter.
  private static let capacity = ServiceLimits.packetBytesMax + ServiceLimits.topicBytesMax + 64

  init() {
    memory = .allocate(byteCount: PacketWriter.capacity, alignment: 16)
    buffer = ByteBuffer(Region(start: memory, count: PacketWriter.capacity))
  }

  deinit { memory.deallocate() }

  /// Sends what the buffer holds.
  borrowing func send(to connection: ConnectionID, after commit: CommitNumber, by output: any ServiceOutput) {
    output.send(buffer.span, to: connection, after: commit)
  }
}
