// What goes wrong, how often, for how long. A simulation lives through a sequence of weathers and ends in a calm one.

import Bytes
import HostInterface

/// What becomes of an attempt to open a link.
public enum OpenOutcome: Equatable, Sendable {
  /// A connection.
  case success
  /// Fails at once or after a moment.
  case failure(LinkFailure)
  /// Nothing answers until the attempt's deadline.
  case silence(LinkFailure)
}

/// How a link ends.
public enum CutKind: CaseIterable, Sendable {
  /// The client learns at once; what was under way is lost.
  case reset
  /// The broker closes in an orderly way.
  case closedByPeer
  /// Both directions swallow everything and nobody is told.
  case halfOpen
  /// What the client sends arrives, what the broker sends does not.
  case deafClient
  /// What the broker sends arrives, what the client sends does not.
  case muteClient
}

/// How the broker answers CONNECT.
public enum ConnackPlan: Equatable, Sendable {
  /// Accepts at once.
  case accept
  /// Refuses with this return code.
  case refuse(UInt8)
  /// Answers, but only after so long.
  case late(TimeSpan)
  /// Never answers.
  case never
  /// Closes instead of answering.
  case close
}

/// How a network and a broker behave for a time. Odds are "once in so many"; 0 is never.
public struct Weather: Sendable {
  /// What the story of a failing seed calls it.
  public var name: String
  /// What attempts to connect come to, each as likely as the others.
  public var openOutcomes: [OpenOutcome] = [.success]
  /// One-way delay in milliseconds.
  public var delay = 5...40
  /// How long a link lasts before it is cut, in milliseconds; nil for ever.
  public var linkLife: ClosedRange<Int>?
  /// How many bytes, both ways together, a link carries before it is cut; nil for any number.
  public var linkBytes: ClosedRange<Int>?
  /// How it is cut, each as likely as the others.
  public var cutKinds: [CutKind] = CutKind.allCases
  /// The most bytes that arrive or are taken in one piece.
  public var pieceBytesMax = 1460
  /// Odds that what is sent at once arrives in two pieces, for each.
  public var split = 0
  /// How many sent bytes the client's system holds until they have arrived.
  public var sendRoom = 2000...65_536
  /// What CONNECT is answered with, each as likely as the others.
  public var connackPlans: [ConnackPlan] = [.accept]
  /// Odds that an acknowledgement takes seconds, for each.
  public var lateAcknowledgement = 0
  /// Odds that an acknowledgement is never sent, for each.
  public var lostAcknowledgement = 0
  /// Odds that a message to the client is sent twice on the same connection, for each.
  public var duplicateDelivery = 0
  /// Odds that a PINGREQ is not answered, for each.
  public var lostPingResponse = 0
  /// Odds that something malformed follows a packet to the client, for each.
  public var malformed = 0
  /// Odds that the broker restarts, for each connection it accepts: sometimes soon, sometimes late.
  public var restart = 0
  /// Odds that a restart loses durable sessions.
  public var lostSession = 0
  /// Odds that another client takes our identifier over, for each connection.
  public var rival = 0

  /// A weather in which nothing goes wrong yet.
  public init(_ name: String) { self.name = name }

  /// A weather in which packets come in pieces and acknowledgements take their time.
  private static func rough(_ name: String) -> Weather {
    var weather = Weather(name)
    weather.split = 4
    weather.lateAcknowledgement = 20
    return weather
  }

  /// Nothing goes wrong.
  public static var calm: Weather { Weather("calm") }

  /// Long delays, little room.
  public static var slow: Weather {
    var weather = rough("slow")
    weather.delay = 300...6000
    weather.sendRoom = 100...1500
    return weather
  }

  /// Everything arrives in single bytes.
  public static var dribble: Weather {
    var weather = rough("dribble")
    weather.pieceBytesMax = 1
    weather.sendRoom = 1...40
    weather.delay = 0...3
    return weather
  }

  /// Links last seconds to minutes.
  public static var flaky: Weather {
    var weather = rough("flaky")
    weather.linkLife = 10...240_000
    weather.delay = 5...900
    weather.pieceBytesMax = 60
    weather.openOutcomes = [
      .success, .success, .success, .success, .failure(.connectionRefused), .silence(.connectTimeout),
    ]
    return weather
  }

  /// Links are cut at random bytes, and both sides learn it.
  public static func frayed(_ linkBytes: ClosedRange<Int>) -> Weather {
    var weather = Weather("frayed")
    weather.linkBytes = linkBytes
    weather.cutKinds = [.reset, .closedByPeer]
    return weather
  }

  /// Links go silent without an end.
  public static var holes: Weather {
    var weather = rough("holes")
    weather.linkLife = 1000...400_000
    weather.cutKinds = [.halfOpen, .deafClient, .muteClient]
    return weather
  }

  /// Nothing can be reached.
  public static var outage: Weather {
    var weather = rough("outage")
    weather.linkLife = 1...60_000
    weather.openOutcomes = [
      .failure(.unreachable), .failure(.connectionRefused), .failure(.nameNotFound), .silence(.nameTimeout),
      .silence(.connectTimeout), .failure(.tlsRefusedByPeer), .silence(.tlsTimeout),
    ]
    return weather
  }

  /// Our clock is wrong as far as certificates are concerned.
  public static var wrongClock: Weather {
    var weather = rough("wrong-clock")
    weather.linkLife = 1...60_000
    weather.openOutcomes = [.failure(.tlsNotYetValid)]
    return weather
  }

  /// The broker takes its time with CONNACK, or never sends one.
  public static var sluggishBroker: Weather {
    var weather = rough("sluggish-broker")
    weather.linkLife = 1000...600_000
    weather.connackPlans = [.accept, .late(.seconds(20)), .late(.seconds(59)), .late(.seconds(80)), .never, .close]
    return weather
  }

  /// The broker refuses.
  public static func refusing(_ codes: [UInt8]) -> Weather {
    var weather = rough("refusing")
    weather.linkLife = 1000...600_000
    weather.connackPlans = codes.map { .refuse($0) }
    return weather
  }

  /// The broker accepts and closes.
  public static var revolvingDoor: Weather {
    var weather = rough("revolving-door")
    weather.linkLife = 50...5000
    weather.cutKinds = [.closedByPeer]
    return weather
  }

  /// The broker forgets acknowledgements and pings, sends twice, restarts.
  public static var forgetfulBroker: Weather {
    var weather = rough("forgetful-broker")
    weather.lostAcknowledgement = 12
    weather.duplicateDelivery = 3
    weather.lostPingResponse = 6
    weather.restart = 3
    weather.lostSession = 3
    return weather
  }

  /// The broker says what no broker may say.
  public static var rudeBroker: Weather {
    var weather = rough("rude-broker")
    weather.malformed = 15
    return weather
  }

  /// Another client has our identifier.
  public static var rivalry: Weather {
    var weather = rough("rivalry")
    weather.rival = 1
    return weather
  }
}
