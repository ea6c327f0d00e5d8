// 1-wire thermometers: /sys/bus/w1/devices/FF-NNNNNNNNNNNN, the family and the number that is burnt into the chip.

import Bytes

/// What is on the buses.
enum OneWireChips {
  /// The families of which the kernel's driver, w1_therm, makes thermometers: DS18S20, DS1822, DS18B20, DS1825 and
  /// MAX31850, DS28EA00.
  private static var families: WordList { WordList("10|22|28|3b|42") }

  /// Whether a device's name is that of a thermometer. A bus without its resistor shows chips of family 00.
  static func isThermometer(_ name: Span<UInt8>) -> Bool {
    name.count == 15 && name[2] == UInt8(ascii: "-") && families.index(of: name.extracting(0..<2)) != nil
  }

  /// The driver offers each thermometer as a hardware monitor's chip of this name as well, and a conversion takes most
  /// of a second: it is listed once.
  static var mirrorName: StaticString { "w1_slave_temp" }
}
