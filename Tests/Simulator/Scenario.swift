// What a simulation of the whole agent is made of: its configuration, and what happens around it.

import Bytes

/// A command that a program carries out.
public struct CommandSpec: Sendable {
  /// Its name in the topic.
  public var name: String
  /// How long its program may take.
  public var timeoutSeconds: Int
}

/// Everything that decides a run, besides the seed.
public struct Scenario: Sendable {
  // The agent's configuration.

  /// The events; each has a counter as its first sensor.
  public var events = [
    EventSpec("status", every: .seconds(60), qos: 1), EventSpec("twin", every: .seconds(120), qos: 2),
    EventSpec("gauge", every: .seconds(30), qos: 0),
  ]
  /// The programs.
  public var commands = [CommandSpec(name: "blink", timeoutSeconds: 10), CommandSpec(name: "long", timeoutSeconds: 60)]
  /// Whether events are due at whole multiples of their intervals.
  public var isAligned = true
  /// Whether each connection begins a new session.
  public var cleanSession = false
  /// The longest pause between two packets.
  public var keepAliveSeconds = 60
  /// Messages that may be unacknowledged at a time.
  public var inflightMax = 10
  /// The largest packet, in bytes.
  public var packetBytes = 2048
  /// Memory for waiting messages, in bytes.
  public var queueBytes = 16_384
  /// Messages sent in a second.
  public var messagesPerSecond = 10
  /// The first attempt comes after a random part of this.
  public var connectDelaySeconds = 10

  /// The lines of `[management]`; nil without it.
  public var management: String?
  /// The timeout of the hardware's watchdog, in seconds; nil without one.
  public var watchdogSeconds: Int?
  /// The lines of `[queue]`; nil without it.
  public var queue: String?
  /// The lines of `[firmware]`; nil without it.
  public var firmware: String?

  /// Whether the organisation is the one without registration.
  public var isQuickstart = false

  // What happens around it.

  /// The weathers that take turns.
  public var weathers: [Weather] = []
  /// How long one lasts, in milliseconds.
  public var weatherLength = 60_000...3_600_000
  /// How long things go wrong.
  public var faultTime = TimeSpan.minutes(6 * 60)
  /// The calm time at the end beyond what recovery may take; everything must be settled then.
  public var calmTime = TimeSpan.minutes(20)
  /// Commands that the broker sends without having the acknowledgements of earlier ones: Mosquitto's default.
  public var brokerWindow = 20
  /// Whether the broker knows QoS 2; otherwise it answers with PUBACK.
  public var brokerKnowsQoS2 = true
  /// How the broker chooses the packet identifiers of commands.
  public var identifiers = IdentifierChoice.counting
  /// Odds that a command is equal to one of a few, once in so many; 0 for never.
  public var equalCommandOdds = 0
  /// Times between two commands from the operator, in milliseconds; nil for none.
  public var commandPause: ClosedRange<Int>?
  /// Whether the operator also asks for events out of turn.
  public var asksForEvents = false
  /// Whether the time of day steps and is unknown at times.
  public var hasClockFaults = false
  /// How many years the time that was stored is ahead of the right one; 0 for nothing stored. The server's certificate
  /// has expired by it.
  public var storedYearsAhead = 0
  /// Whether the system says that its clock is synchronised when it is right.
  public var saysSynchronised = true
  /// Whether the machine is suspended at times.
  public var isSuspended = false
  /// How long the storage takes, in milliseconds.
  public var storageDelay = 0...0
  /// Once in so many times it hangs; 0 for never.
  public var storageHangOdds = 0
  /// Whether the flash fills up, fails, and becomes read-only at times.
  public var hasDiskFaults = false
  /// How late the loop wakes at most, in milliseconds.
  public var latenessMilliseconds = 0

  /// A durable session and good weather.
  public init() {}

  /// Every weather there is.
  public static var allWeathers: [Weather] {
    [
      .calm, .slow, .dribble, .flaky, .holes, .outage, .wrongClock, .sluggishBroker, .refusing([3]),
      .refusing([1, 2, 4, 5, 6, 0x80]), .revolvingDoor, .forgetfulBroker, .rudeBroker, .rivalry,
    ]
  }

  /// A day of everything that can happen.
  public static func dayOfEverything(seed: UInt64) -> Scenario {
    var scenario = Scenario()
    scenario.weathers = allWeathers
    scenario.faultTime = .minutes(24 * 60)
    scenario.commandPause = 100...600_000
    scenario.hasClockFaults = true
    scenario.isSuspended = true
    scenario.storageDelay = 0...2500
    scenario.storageHangOdds = 20
    scenario.hasDiskFaults = true
    scenario.asksForEvents = true
    scenario.identifiers = IdentifierChoice.allCases[Int(seed % 3)]
    scenario.equalCommandOdds = 3
    scenario.cleanSession = seed % 4 == 0
    scenario.latenessMilliseconds = 20
    scenario.events[0].sensors = [.faulty, .wordy]
    scenario.events[1].sensors = [.slow]
    scenario.events[2].sensors = [.slow, .faulty]
    if seed % 2 == 0 {
      scenario.queue = "size = 64KB\nflush = \(seed % 4 == 0 ? "each" : "10s")"
    }
    return scenario
  }

  /// How much later the agent may begin because it waits for what was stored: what it is patient for, at most.
  var storagePatience: TimeSpan { storageDelay.upperBound > 0 || storageHangOdds > 0 ? .seconds(2) : .zero }

  /// The marks of everything malformed that a broker can send here.
  public static var malformedMarks: [String] { Rubbish.all.map { "malformed-\($0.name)" } }

  /// Whether a refusal of the slow class may be the last thing that happens before the calm.
  var mayBeSlow: Bool {
    weathers.contains { weather in
      weather.connackPlans.contains { if case .refuse(let code) = $0 { code != 3 } else { false } }
    }
  }

  /// How long recovery may take: the longest pause, an attempt that is still under way, and noticing a dead link.
  var recoveryTime: TimeSpan { (mayBeSlow ? TimeSpan.seconds(3600) : .seconds(300)) + .minutes(10) }

  /// The configuration file.
  var configuration: String {
    let credentials =
      isQuickstart ? "" : "auth-method = token\nauth-token = \(Scenario.token)"
    var text = """
      [server]
      host = broker.example
      tls = no
      \(isQuickstart ? "" : "allow-plaintext-token = yes")
      [device]
      org = \(organization)
      type = edge
      id = e7-0042
      \(credentials)
      [mqtt]
      keep-alive = \(keepAliveSeconds)s
      clean-session = \(cleanSession ? "yes" : "no")
      inflight-max = \(inflightMax)
      packet-size = \(packetBytes)B
      queue-size = \(queueBytes)B
      connect-delay-max = \(connectDelaySeconds)s
      messages-per-second = \(messagesPerSecond)
      [agent]
      source-timeout = \(Scenario.sourceTimeoutSeconds)s
      align = \(isAligned ? "yes" : "no")

      """
    if let management { text += "[management]\n\(management)\n" }
    if let firmware { text += "[firmware]\n\(firmware)\n" }
    if let queue { text += "[queue]\n\(queue)\n" }
    if let watchdogSeconds { text += "[watchdog]\ntimeout = \(watchdogSeconds)s\n" }
    for (index, event) in events.enumerated() {
      text += """
        [event \(event.name)]
        interval = \(event.interval.milliseconds / 1000)s
        qos = \(event.qos)
        [sensor n\(index)]
        event = \(event.name)
        read = file:/sensors/\(event.name)/counter

        """
      for (number, sensor) in event.sensors.enumerated() {
        text += "[sensor s\(index)-\(number)]\nevent = \(event.name)\nread = file:/sensors/\(event.name)/\(number)\n"
        switch sensor {
        case .wordy: text += "type = text\n"
        case .counter, .faulty, .slow, .broken, .telling: break
        }
      }
    }
    for command in commands {
      text += "[command \(command.name)]\nrun = /usr/libexec/\(command.name)\ntimeout = \(command.timeoutSeconds)s\n"
    }
    return text
  }

  var organization: String { isQuickstart ? "quickstart" : "ab12cd" }

  static let token = "t0k=n#secret"
  static let sourceTimeoutSeconds = 5

  /// The behaviour of each source, in the order of the configuration, and which sources are counters.
  var sources: (behaviours: [SensorBehaviour], counters: [Int]) {
    var behaviours: [SensorBehaviour] = []
    var counters: [Int] = []
    for event in events {
      counters.append(behaviours.count)
      behaviours.append(.counter)
      behaviours += event.sensors
    }
    return (behaviours, counters)
  }
}

extension BrokerExpectations {
  /// What the broker of an agent with this configuration expects.
  init(of scenario: Scenario) {
    self.init(
      clientID: Array("d:\(scenario.organization):edge:e7-0042".utf8),
      userName: scenario.isQuickstart ? nil : Array("use-token-auth".utf8),
      password: scenario.isQuickstart ? nil : Array(Scenario.token.utf8), cleanSession: scenario.cleanSession,
      keepAliveSeconds: scenario.keepAliveSeconds, inflightMax: scenario.inflightMax,
      outboundWindow: scenario.brokerWindow, knowsQoS2: scenario.brokerKnowsQoS2, identifiers: scenario.identifiers)
  }
}
