// The environment variables that programs for this platform share.

import Bytes

/// One environment variable, to be looked for by the program and handed to `SettingsLoader.apply`.
public struct EnvironmentVariable: BitwiseCopyable, Sendable {
  /// Its name; the literal ends in a NUL, as `getenv` wants it.
  public let name: StaticString
  let key: Key

  @inline(__always)
  private init(_ name: StaticString, _ key: Key) {
    self.name = name
    self.key = key
  }

  /// Of two for one key the former wins. Data of the program, as `KeyTable` is.
  private static let all: InlineArray<_, EnvironmentVariable> = [
    EnvironmentVariable("WIOTP_IDENTITY_ORGID", .organization),
    EnvironmentVariable("WIOTP_IDENTITY_TYPEID", .deviceType),
    EnvironmentVariable("WIOTP_IDENTITY_DEVICEID", .deviceID),
    EnvironmentVariable("WIOTP_AUTH_TOKEN", .token),
    EnvironmentVariable("WIOTP_OPTIONS_DOMAIN", .domain),
    EnvironmentVariable("WIOTP_OPTIONS_LOGLEVEL", .logLevel),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_PORT", .port),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_TRANSPORT", .transport),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_CAFILE", .caFile),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_CLEANSTART", .cleanSession),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_CLEANSESSION", .cleanSession),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_SESSIONEXPIRY", .sessionExpiry),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_KEEPALIVE", .keepAlive),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_VALIDATESERVERCERT", .validateServer),
    EnvironmentVariable("WIOTP_AUTH_KEYSTORE", .clientCertificate),
    EnvironmentVariable("WIOTP_AUTH_PRIVATEKEY", .clientKey),
    EnvironmentVariable("WIOTP_AUTH_PRIVATEKEYPASSWORD", .certificatePassword),
    // Of applications, and of calls that Mote does not make: they may well be set for another program.
    EnvironmentVariable("WIOTP_IDENTITY_APPID", .foreign),
    EnvironmentVariable("WIOTP_AUTH_KEY", .foreign),
    EnvironmentVariable("WIOTP_API_KEY", .foreign),
    EnvironmentVariable("WIOTP_API_TOKEN", .foreign),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_INSTANCEID", .foreign),
    EnvironmentVariable("WIOTP_OPTIONS_MQTT_SHAREDSUBSCRIPTION", .foreign),
    EnvironmentVariable("WIOTP_OPTIONS_HTTP_VERIFY", .foreign),
  ]

  /// How many there are.
  public static var count: Int { all.count }

  /// The variable at `index`, from 0 to `count` - 1.
  public static func at(_ index: Int) -> EnvironmentVariable { all[index] }
}
