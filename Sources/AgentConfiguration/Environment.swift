// The environment variables that programs for this platform share.

import Bytes

/// One environment variable, to be looked for by the program and handed to `SettingsLoader.apply`.
public struct EnvironmentVariable {
  /// Its name; the literal ends in a NUL, as `getenv` wants it.
  public let name: StaticString
  let key: Key

  private init(_ name: StaticString, _ key: Key) {
    self.name = name
    self.key = key
  }

  /// How many there are.
  public static var count: Int { 24 }

  /// The variable at `index`, from 0 to `count` - 1. Of two for one key the former wins.
  public static func at(_ index: Int) -> EnvironmentVariable {
    switch index {
    case 0: EnvironmentVariable("WIOTP_IDENTITY_ORGID", .organization)
    case 1: EnvironmentVariable("WIOTP_IDENTITY_TYPEID", .deviceType)
    case 2: EnvironmentVariable("WIOTP_IDENTITY_DEVICEID", .deviceID)
    case 3: EnvironmentVariable("WIOTP_AUTH_TOKEN", .token)
    case 4: EnvironmentVariable("WIOTP_OPTIONS_DOMAIN", .domain)
    case 5: EnvironmentVariable("WIOTP_OPTIONS_LOGLEVEL", .logLevel)
    case 6: EnvironmentVariable("WIOTP_OPTIONS_MQTT_PORT", .port)
    case 7: EnvironmentVariable("WIOTP_OPTIONS_MQTT_TRANSPORT", .transport)
    case 8: EnvironmentVariable("WIOTP_OPTIONS_MQTT_CAFILE", .caFile)
    case 9: EnvironmentVariable("WIOTP_OPTIONS_MQTT_CLEANSTART", .cleanSession)
    case 10: EnvironmentVariable("WIOTP_OPTIONS_MQTT_CLEANSESSION", .cleanSession)
    case 11: EnvironmentVariable("WIOTP_OPTIONS_MQTT_SESSIONEXPIRY", .sessionExpiry)
    case 12: EnvironmentVariable("WIOTP_OPTIONS_MQTT_KEEPALIVE", .keepAlive)
    case 13: EnvironmentVariable("WIOTP_OPTIONS_MQTT_VALIDATESERVERCERT", .validateServer)
    case 14: EnvironmentVariable("WIOTP_AUTH_KEYSTORE", .clientCertificate)
    case 15: EnvironmentVariable("WIOTP_AUTH_PRIVATEKEY", .clientKey)
    case 16: EnvironmentVariable("WIOTP_AUTH_PRIVATEKEYPASSWORD", .certificatePassword)
    // Of applications, and of calls that Mote does not make: they may well be set for another program.
    case 17: EnvironmentVariable("WIOTP_IDENTITY_APPID", .foreign)
    case 18: EnvironmentVariable("WIOTP_AUTH_KEY", .foreign)
    case 19: EnvironmentVariable("WIOTP_API_KEY", .foreign)
    case 20: EnvironmentVariable("WIOTP_API_TOKEN", .foreign)
    case 21: EnvironmentVariable("WIOTP_OPTIONS_MQTT_INSTANCEID", .foreign)
    case 22: EnvironmentVariable("WIOTP_OPTIONS_MQTT_SHAREDSUBSCRIPTION", .foreign)
    default: EnvironmentVariable("WIOTP_OPTIONS_HTTP_VERIFY", .foreign)
    }
  }
}
