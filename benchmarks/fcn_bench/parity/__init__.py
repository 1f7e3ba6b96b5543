"""Do exported files label as their checkpoint does?"""
