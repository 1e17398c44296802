"""Strict local doubles of the vendors in the catalogue of connectors, built from their published schemas."""

from posthorn.testing.vendors.crm import CRM
from posthorn.testing.vendors.double import Call, Received, Reply, Trouble, Vendor
from posthorn.testing.vendors.marketing import MARKETING
from posthorn.testing.vendors.messengers import MESSENGERS
from posthorn.testing.vendors.meta import META
from posthorn.testing.vendors.phones_and_mail import PHONES_AND_MAIL
from posthorn.testing.vendors.sales import SALES
from posthorn.testing.vendors.server import VendorServer
from posthorn.testing.vendors.team_chats import TEAM_CHATS

VENDORS: dict[str, Vendor] = {
    vendor.connector: vendor for vendor in (*MESSENGERS, *META, *TEAM_CHATS, *PHONES_AND_MAIL, *CRM, *SALES, *MARKETING)
}
"""Every double, by the name of its connector."""

__all__ = ["VENDORS", "Call", "Received", "Reply", "Trouble", "Vendor", "VendorServer"]
