"""Tables of rows and what draws, saves and follows them; knows no models."""

from surgery.report._bar import draw_bars as draw_bars
from surgery.report._console import draw as draw
from surgery.report._console import render as render
from surgery.report._figure import Bar as Bar
from surgery.report._figure import Tone as Tone
from surgery.report._figure import bar_chart as bar_chart
from surgery.report._format import Format as Format
from surgery.report._format import format_column as format_column
from surgery.report._format import format_value as format_value
from surgery.report._format import printable as printable
from surgery.report._json import FileKind as FileKind
from surgery.report._json import JSONValue as JSONValue
from surgery.report._json import load_json as load_json
from surgery.report._json import plain_json as plain_json
from surgery.report._json import save_json as save_json
from surgery.report._markdown import markdown as markdown
from surgery.report._progress import Advance as Advance
from surgery.report._progress import progress as progress
from surgery.report._result import AbstractResult as AbstractResult
from surgery.report._table import Column as Column
from surgery.report._table import Table as Table
from surgery.report._table import to_pandas as to_pandas
from surgery.report._tensorboard import Session as Session
from surgery.report._tensorboard import write_tensorboard as write_tensorboard
