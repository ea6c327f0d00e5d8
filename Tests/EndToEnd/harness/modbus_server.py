"""A Modbus server that is not ours (pymodbus), for `modbus_server.py tcp PORT` or `modbus_server.py serial PATH`.

Each request is a line on standard output: function, address, count. Runs in build/tools/modbus.
"""

import asyncio
import sys

from pymodbus import Framer
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer

REGISTERS = [0] * 200
# 555, -1; 123.456 in both orders of words; -123456; 1234567890123.
REGISTERS[100:112] = [555, 0xFFFF, 0x42F6, 0xE979, 0xE979, 0x42F6, 0xFFFE, 0x1DC0, 0, 0x011F, 0x71FB, 0x04CB]


class Unit(ModbusSlaveContext):
    """One that tells what it is asked."""

    def getValues(self, function, address, count=1):  # noqa: N802
        print(function, address, count, flush=True)
        return super().getValues(function, address, count)


def block(values):
    return ModbusSequentialDataBlock(0, values)


async def main(kind, place):
    unit = Unit(di=block([0, 1, 1]), co=block([1, 0, 1, 0]), hr=block(REGISTERS), ir=block([7, 17260, 16104]),
                zero_mode=True)
    context = ModbusServerContext(slaves={17: unit}, single=False)
    if kind == "tcp":
        await StartAsyncTcpServer(context, address=("127.0.0.1", int(place)), ignore_missing_slaves=True)
    else:
        await StartAsyncSerialServer(context, port=place, baudrate=19200, framer=Framer.RTU,
                                     ignore_missing_slaves=True)


asyncio.run(main(*sys.argv[1:]))
