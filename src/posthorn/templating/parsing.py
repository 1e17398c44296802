"""Text to parse tree, with every failure at its place in what the author wrote."""

from liquid import Environment
from liquid.ast import Node
from liquid.exceptions import LiquidError
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.token import TOKEN_OUTPUT, TOKEN_TAG

from posthorn.templating.source import Source


def parse(source: Source, environment: Environment) -> list[Node]:
    """Parse a template. Raises TemplateSyntaxInvalid."""
    return parse_shifted(source, source.text, 0, environment)


def parse_shifted(source: Source, text: str, base: int, environment: Environment) -> list[Node]:
    """Parse a text whose first character has the place `base` of a source. Raises TemplateSyntaxInvalid."""
    stream: TokenStream | None = None
    try:
        tokens = environment.tokenizer()(text)
        if base:
            tokens = (token._replace(start_index=token.start_index + base) for token in tokens)
        stream = TokenStream(tokens)
        return get_parser(environment).parse(stream)
    except LiquidError as error:
        raise source.invalid(_index_of(error, stream, base), str(error.message)) from None
    except RecursionError:
        raise source.invalid(base, "an expression is nested too deeply") from None


def _index_of(error: LiquidError, stream: TokenStream | None, base: int) -> int:
    """Return where a parser error is; an error at the end of a tag belongs to that tag."""
    if error.token and error.token.start_index >= 0:
        return error.token.start_index
    read = stream.tokens[: stream.pos + 1] if stream else []
    return next((token.start_index for token in reversed(read) if token.kind in {TOKEN_TAG, TOKEN_OUTPUT}), base)
