// Every bound of the platform in one place.

import Bytes
import IoTPlatform

/// Bounds of the platform. Where the platform's documents name a number it is theirs; the others keep memory bounded.
public enum ServiceLimits {
  // MARK: Connections

  /// Connections at a time, all listeners together.
  public static let connectionsMax = 20_000
  /// Connections beyond those that are taken to be refused in MQTT's terms (closing code 104); more are just closed.
  public static let connectionsToRefuseMax = 200
  /// How long a connection may take for its CONNECT (closing code 164).
  public static let connectTimeout = TimeSpan.seconds(10)
  /// The largest CONNECT, in bytes: what an unknown peer can make us hold (closing code 165).
  public static let connectBytesMax = 4096
  /// The longest client identifier, in bytes.
  public static let clientIdentifierBytesMax = 256
  /// The longest keep alive of shared applications, in seconds; 0 and more than this become this.
  public static let sharedKeepAliveSecondsMax: UInt16 = 3600
  /// Bytes of QoS 0 messages that one input may send to one client, 200 retained ones for example; what is beyond is
  /// dropped as for a client that takes no bytes.
  public static let burstBytesMax = 1 << 20
  /// How long a connection that takes no bytes is kept (closing code 178).
  public static let slowConsumerTimeout = TimeSpan.seconds(30)

  // MARK: Failed authentications and takeovers

  /// Failures of one client identifier that are answered at once; each further one is answered a second later.
  public static let failuresFree = 3
  /// The longest delay of an answer.
  public static let answerDelayMax = TimeSpan.seconds(15)
  /// How often it is looked whether a delay is over.
  public static let delayGranularity = TimeSpan.milliseconds(100)
  /// Failures are forgotten after this time without another one.
  public static let failureMemory = TimeSpan.minutes(60)
  /// Over HTTP the first failure that is not free costs a second, and each further one twice as much, so many times.
  public static let failureDoublingsMax = 6
  /// Client identifiers, or addresses and users, whose failures are remembered.
  public static let failureRecordsMax = 10_000

  // MARK: Messages

  /// The largest payload, in bytes (closing code 287).
  public static let payloadBytesMax = PayloadLimits.bytesMax
  /// Bytes of a topic that do not count against the payload's limit.
  public static let topicBytesFree = 200
  /// The largest packet of an accepted client, in bytes: fixed header, topic, identifier and the largest payload.
  public static let packetBytesMax = 5 + 2 + topicBytesFree + 2 + payloadBytesMax
  /// How much too early a message may come that is dropped otherwise.
  public static let rateTolerance = TimeSpan.milliseconds(100)
  /// How long the answer to a message over HTTP is held back that comes faster than it may; who would have to wait
  /// longer is refused.
  public static let httpPauseMax = TimeSpan.seconds(10)
  /// The longest topic or filter, in bytes.
  public static let topicBytesMax = 1024

  // MARK: Sessions

  /// How long a durable session is kept for a client that is away: what the platform keeps commands for at most.
  public static let sessionMemory = TimeSpan.minutes(7 * 24 * 60)
  /// How long it is kept after a restart at least: the clock may have been set.
  public static let sessionMemoryMin = TimeSpan.minutes(60)
  /// How often sessions are looked through for those.
  public static let sessionSweepInterval = TimeSpan.minutes(1)
  /// Durable sessions of one organisation.
  public static let durableSessionsMax = 50_000
  /// Subscriptions of a device or gateway, and of an application (closing code 154).
  public static let deviceSubscriptionsMax = 50
  /// Subscriptions of an application.
  public static let applicationSubscriptionsMax = 500
  /// Messages that wait in one session; the oldest is dropped for the newest.
  public static let queuedMessagesMax = 5000
  /// Bytes that wait in one session.
  public static let queuedBytesMax = 8 << 20
  /// Bytes that wait in all sessions together.
  public static let queuedBytesTotalMax = 512 << 20
  /// Unacknowledged messages to a device.
  public static let deviceInflightMax = 10
  /// Unacknowledged messages to a gateway or an application.
  public static let applicationInflightMax = 100
  /// QoS 2 messages from a device that are between their PUBREC and PUBREL; what is beyond is answered later.
  public static let deviceReceiveMax = 10
  /// The same from a gateway.
  public static let gatewayReceiveMax = 1000
  /// The same from an application.
  public static let applicationReceiveMax = 2000

  /// Commands that wait for a device that asks for them over HTTP; the oldest is dropped for the newest.
  public static let mailboxCommandsMax = 50
  /// Bytes that wait for one device, and for all.
  public static let mailboxBytesMax = 512 << 10
  /// See `mailboxBytesMax`.
  public static let mailboxBytesTotalMax = 64 << 20
  /// How long a command waits there, and commands are kept for a device that does not ask.
  public static let mailboxMemory = TimeSpan.minutes(48 * 60)

  // MARK: Registry

  /// Device types.
  public static let typesMax = 1000
  /// Devices.
  public static let devicesMax = 100_000
  /// API keys.
  public static let apiKeysMax = 1000
  /// The longest comment of an API key, in characters of Unicode.
  public static let keyCommentCharactersMax = 60
  /// Bundles of custom actions.
  public static let bundlesMax = 100
  /// The longest name of a bundle, its version, an action or a parameter, in bytes.
  public static let bundleNameBytesMax = 255
  /// The longest regular expression of a parameter, in bytes, and the most states that it may have.
  public static let patternBytesMax = 1024
  /// See `patternBytesMax`.
  public static let patternStatesMax = 4000
  /// The longest value that is held against a parameter's regular expression, in bytes.
  public static let matchedBytesMax = 4096
  /// The shortest token that a caller may choose, in bytes, and the longest.
  public static let tokenBytesRange = 8...256
  /// The largest metadata of a device, as JSON text, in bytes.
  public static let metadataBytesMax = 16_384
  /// Devices of Quickstart that are remembered.
  public static let quickstartDevicesMax = 2000
  /// Devices that may act through one gateway.
  public static let gatewayDevicesMax = 500
  /// How long no further attempt is made to register a device after a failed one.
  public static let registrationPause = TimeSpan.seconds(600)
  /// Failed registrations that are remembered.
  public static let failedRegistrationsMax = 1000

  // MARK: Last events

  /// Events of a device whose last message is kept.
  public static let lastEventsMax = 5
  /// The largest payload that is kept as a last event, in bytes.
  public static let lastEventBytesMax = 16_384

  /// How often last events are stored.
  public static let lastEventsStoreInterval = TimeSpan.seconds(10)

  /// How long what was told about a connection is kept for later subscribers.
  public static let statusMemory = TimeSpan.minutes(8 * 24 * 60)

  // MARK: Device management

  /// The shortest lifetime of a managed device but for 0, in seconds.
  public static let lifetimeSecondsMin: Int64 = 3600
  /// The longest lifetime, in seconds: ten years.
  public static let lifetimeSecondsMax: Int64 = 315_360_000
  /// The longest member of `deviceInfo`, in bytes.
  public static let deviceInfoBytesMax = 1024
  /// Devices in one request.
  public static let requestDevicesMax = 5000
  /// Requests that are kept; the oldest complete one makes room.
  public static let requestsMax = 1000
  /// How long a request may take, in seconds, if it does not say.
  public static let requestSecondsDefault = 3600
  /// The longest time that a request may ask for, in seconds.
  public static let requestSecondsMax = 604_800
  /// Entries of a device's diagnostic log.
  public static let logEntriesMax = 500
  /// Bytes of a device's diagnostic log.
  public static let logBytesMax = 512_000
  /// Error codes of a device that are kept.
  public static let errorCodesMax = 200

  // MARK: Usage

  /// Days of which it is known how much went over the connections.
  public static let usageDaysMax = 400
  /// How often that is stored.
  public static let usageStoreInterval = TimeSpan.minutes(10)

  // MARK: Observers

  /// Streams of events and changes that programs on this machine may have open.
  public static let observersMax = 1000
  /// How many of them may watch Quickstart, where nobody logs in.
  public static let quickstartObserversMax = observersMax / 2
  /// How many one address or one API key may have open.
  public static let observersOfClientMax = 100
  /// The longest payload that an observation has, in bytes; of a longer one it tells the size.
  public static let observedPayloadBytesMax = lastEventBytesMax
}
