// The environment variables that programs for this platform share.

import Bytes

/// One environment variable, to be looked for by the program and handed to `SettingsLoader.apply`.
public struct EnvironmentVariable: BitwiseCopyable, Sendable {
  private let index: Int

  // Words in one row, and no table of them: its addresses would have to be written at each start.
  private static var names: WordList {
    WordList(
      """
      WIOTP_IDENTITY_ORGID|WIOTP_IDENTITY_TYPEID|WIOTP_IDENTITY_DEVICEID|WIOTP_AUTH_TOKEN\
      |WIOTP_OPTIONS_DOMAIN|WIOTP_OPTIONS_LOGLEVEL|WIOTP_OPTIONS_MQTT_PORT|WIOTP_OPTIONS_MQTT_TRANSPORT\
      |WIOTP_OPTIONS_MQTT_CAFILE|WIOTP_OPTIONS_MQTT_CLEANSTART|WIOTP_OPTIONS_MQTT_CLEANSESSION\
      |WIOTP_OPTIONS_MQTT_SESSIONEXPIRY|WIOTP_OPTIONS_MQTT_KEEPALIVE|WIOTP_OPTIONS_MQTT_VALIDATESERVERCERT\
      |WIOTP_AUTH_KEYSTORE|WIOTP_AUTH_PRIVATEKEY|WIOTP_AUTH_PRIVATEKEYPASSWORD\
      |WIOTP_IDENTITY_APPID|WIOTP_AUTH_KEY|WIOTP_API_KEY|WIOTP_API_TOKEN|WIOTP_OPTIONS_MQTT_INSTANCEID\
      |WIOTP_OPTIONS_MQTT_SHAREDSUBSCRIPTION|WIOTP_OPTIONS_HTTP_VERIFY
      """)
  }

  /// What they set, in rows as their names; of two for one key the former wins. Data of the program, as `KeyTable` is.
  private static let keys: InlineArray<_, Key> = [
    .organization, .deviceType, .deviceID, .token,
    .domain, .logLevel, .port, .transport,
    .caFile, .cleanSession, .cleanSession,
    .sessionExpiry, .keepAlive, .validateServer,
    .clientCertificate, .clientKey, .certificatePassword,
    // Of applications, and of calls that Mote does not make: they may well be set for another program.
    .foreign, .foreign, .foreign, .foreign, .foreign,
    .foreign, .foreign,
  ]

  /// How many there are.
  public static var count: Int { keys.count }

  /// The variable at `index`, from 0 to `count` - 1.
  public static func at(_ index: Int) -> EnvironmentVariable { EnvironmentVariable(index: index) }

  /// Its name.
  public var name: Span<UInt8> {
    @_lifetime(immortal)
    get { EnvironmentVariable.names.word(index) }
  }

  var key: Key { EnvironmentVariable.keys[index] }
}
