"""The official client through the gateway: lists, calls, progress, a prompt, a resource, a refusal.

Usage: client.py URL KEY. It finds the protocol's version by itself, as its users' programs do.
"""

import asyncio
import sys

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.exceptions import MCPError


async def main(url: str, key: str) -> None:
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            for name in ("everything__echo", "everything__get-sum", "demo__echo", "demo__progress"):
                assert name in tools, (name, sorted(tools))
            assert "demo__admin_only" not in tools, "a restricted tool is listed"

            echo = await client.call_tool("everything__echo", {"message": "hello"})
            assert not echo.is_error and "hello" in echo.content[0].text, echo
            assert echo.meta["only1mcp/receipt"]["state"] == "sealed", echo.meta
            total = await client.call_tool("everything__get-sum", {"a": 2, "b": 3})
            assert "5" in total.content[0].text, total

            told = []

            async def progress(done, of, message):
                told.append((done, of))

            arguments = {"duration": 1, "steps": 4}
            name = "everything__trigger-long-running-operation"
            assert name in tools, sorted(tools)
            long = await client.call_tool(name, arguments, progress_callback=progress)
            assert not long.is_error, long
            assert [done for done, _ in told] == [1, 2, 3, 4], told

            prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
            assert {"demo__greet", "everything__simple-prompt"} <= prompts, prompts
            greeting = await client.get_prompt("demo__greet", {"name": "Ada"})
            assert "Ada" in greeting.messages[0].content.text, greeting
            resources = (await client.list_resources()).resources
            guide = next(resource for resource in resources if "guide" in str(resource.uri))
            read = await client.read_resource(guide.uri)
            assert "demo server" in read.contents[0].text, read

            try:
                refused = await client.call_tool("demo__admin_only", {})
            except MCPError as error:
                assert error.data["code"] == "tool_restricted", error.data
            else:
                raise AssertionError(f"a restricted tool answered: {refused}")
    print("all as expected")


asyncio.run(main(*sys.argv[1:3]))
